/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/limits.h"
#include "generated/api_types.h"
#include "generated/reasons.h"
#include "schema/test_support.h"
#include "schema/walk.h"

#define MACHINE                                                                                                                    \
        "{apiVersion: gabbro.dev/v1, kind: VirtualMachine, metadata: {name: linux-vm, namespace: default, labels: {a: b}}, "       \
        "spec: {virtualMachineClassName: host, cpu: {cores: 2, coreFraction: 10%}, memory: {size: 1Gi}, "                          \
        "nodeSelector: {disktype: ssd, zone: a}, tolerations: [{operator: Exists, tolerationSeconds: 7}], "                        \
        "enableParavirtualization: false, securityGroups: [web, db], topologySpreadConstraints: [{maxSkew: 1}], "                  \
        "blockDeviceRefs: [{kind: VirtualDisk, name: a}, {kind: VirtualImage, name: b}]}, "                                        \
        "status: {phase: Running, epoch: 3, conditions: [{type: AgentReady, status: 'True'}, "                                     \
        "{type: AwaitingRestartToApplyConfiguration, status: 'False'}], resources: {cpu: {cores: 2}, memory: {size: 1Gi}}}}"

static char *text_of(const struct json_value *value)
{
        return json_to_text(value);
}

static const struct json_value *at(struct json_doc *doc, const char *pointer)
{
        return json_pointer_get(json_root(doc), pointer);
}

/* --- shape -----------------------------------------------------------------------------------------------------------------------
 */

static char *shape_faults(const struct schema_kind *kind, const char *text, enum schema_unknown unknown, char **ret_result)
{
        g_autoptr(schema_faults) faults = schema_faults_new();
        g_autoptr(json_doc) doc = test_yaml(text);

        schema_check_shape(kind, json_root(doc), unknown, faults);
        if (ret_result)
                *ret_result = text_of(json_root(doc));
        return test_faults_text(faults);
}

static void unknown_members_are_kept_refused_or_dropped(void)
{
        static const char text[] = "{metadata: {name: a}, spec: {cidr: 10.0.0.0/8, speed: 3, dns: null}}";
        g_autofree char *kept = NULL, *refused = NULL, *dropped = NULL;
        g_autofree char *none = shape_faults(&api_network_kind, text, SCHEMA_UNKNOWN_KEEP, &kept);
        g_autofree char *one = shape_faults(&api_network_kind, text, SCHEMA_UNKNOWN_REFUSE, &refused);
        g_autofree char *gone = shape_faults(&api_network_kind, text, SCHEMA_UNKNOWN_DROP, &dropped);

        g_assert_cmpstr(none, ==, "");
        g_assert_cmpstr(kept, ==, "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"cidr\":\"10.0.0.0/8\",\"speed\":3}}");
        g_assert_cmpstr(one, ==, "spec.speed: Unknown field: NetworkSpec has no field speed");
        g_assert_cmpstr(refused, ==, kept);
        g_assert_cmpstr(gone, ==, "");
        g_assert_cmpstr(dropped, ==, "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"cidr\":\"10.0.0.0/8\"}}");
}

static void a_null_means_absent_unless_the_field_is_nullable(void)
{
        g_autofree char *result = NULL;
        g_autofree char *faults = shape_faults(
                &api_event_kind, "{metadata: {name: a, creationTimestamp: null}, lastTimestamp: null, reason: null, count: 1}",
                SCHEMA_UNKNOWN_REFUSE, &result);

        g_assert_cmpstr(faults, ==, "");
        g_assert_cmpstr(result, ==, "{\"metadata\":{\"name\":\"a\"},\"lastTimestamp\":null,\"count\":1}");
}

static const struct {
        const char *text;
        const char *faults;
} shapes[] = {
        {"[]", ": Invalid value: []: must be an object, not a list"},
        {"null", ": Invalid value: null: must be an object, not null"},
        {"{spec: 7}", "spec: Invalid value: 7: must be an object"},
        {"{spec: {cpu: [1]}}", "spec.cpu: Invalid value: [1]: must be an object, not a list"},
        {"{spec: {cpu: {cores: '2'}}}", "spec.cpu.cores: Invalid value: \"2\": must be a whole number, not a string"},
        {"{spec: {cpu: {cores: 2.0}}}", ""},
        {"{spec: {cpu: {cores: 99999999999999999999}}}",
         "spec.cpu.cores: Invalid value: 99999999999999999999: must be a whole number"},
        {"{spec: {enableParavirtualization: 'yes'}}",
         "spec.enableParavirtualization: Invalid value: \"yes\": must be true or false, not a string"},
        {"{spec: {memory: {size: true}}}",
         "spec.memory.size: Invalid value: true: must be a quantity (a string or a number), not true"},
        {"{spec: {memory: {size: 1073741824}}}", ""},
        {"{spec: {blockDeviceRefs: {a: b}}}", "spec.blockDeviceRefs: Invalid value: {\"a\":\"b\"}: must be a list, not an object"},
        {"{spec: {blockDeviceRefs: [3, null]}}", "spec.blockDeviceRefs[0]: Invalid value: 3: must be an object\n"
                                                 "spec.blockDeviceRefs[1]: Invalid value: null: must be an object, not null"},
        {"{spec: {nodeSelector: {a: 1, b: [c]}}}", "spec.nodeSelector.a: Invalid value: 1: must be a string\n"
                                                   "spec.nodeSelector.b: Invalid value: [\"c\"]: must be a string, not a list"},
        {"{metadata: {labels: [a]}}", "metadata.labels: Invalid value: [\"a\"]: must be a map of strings, not a list"},
        {"{spec: {topologySpreadConstraints: {any: [thing, 1]}}}", ""},
};

static void wrong_types_are_told_with_their_places(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(shapes); i++) {
                g_autofree char *faults = shape_faults(&api_virtual_machine_kind, shapes[i].text, SCHEMA_UNKNOWN_REFUSE, NULL);

                g_assert_cmpstr(faults, ==, shapes[i].faults);
        }
}

static void long_values_are_cut_in_messages(void)
{
        g_autofree char *text = g_strnfill(4000, 'x');
        g_autofree char *yaml = g_strdup_printf("{spec: {cpu: {cores: \"%s\"}}}", text);
        g_autofree char *faults = shape_faults(&api_virtual_machine_kind, yaml, SCHEMA_UNKNOWN_REFUSE, NULL);

        g_assert_cmpuint(strlen(faults), <, 250);
        g_assert_nonnull(strstr(faults, "…"));
}

static void faults_are_counted_beyond_those_that_are_kept(void)
{
        g_autoptr(schema_faults) faults = schema_faults_new();

        for (int i = 0; i < LIMIT_FAULTS + 5; i++)
                schema_faults_add(faults, "a", REASON_FIELD_VALUE_INVALID, "%d", i);
        g_assert_cmpuint(schema_faults_count(faults), ==, LIMIT_FAULTS + 5);
        g_assert_cmpuint(schema_faults_kept(faults), ==, LIMIT_FAULTS);
        g_assert_cmpstr(schema_faults_at(faults, LIMIT_FAULTS - 1)->message, ==, "63");
}

/* --- defaults --------------------------------------------------------------------------------------------------------------------
 */

static void absent_fields_get_their_defaults(void)
{
        g_autoptr(json_doc) doc =
                test_yaml("{spec: {osType: Windows, cpu: {cores: 1}, provisioning: {userDataRef: {name: a}}, networks: [{}]}}");
        g_autofree char *text = NULL;

        schema_default(&api_virtual_machine_kind, doc, json_root(doc));
        text = text_of(json_get(json_root(doc), "spec"));
        g_assert_cmpstr(text, ==,
                        "{\"osType\":\"Windows\",\"cpu\":{\"cores\":1},\"provisioning\":{\"userDataRef\":{\"name\":\"a\",\"kind\":"
                        "\"Secret\"}},"
                        "\"networks\":[{}],\"runPolicy\":\"AlwaysOnUnlessStoppedManually\",\"disruptions\":{"
                        "\"restartApprovalMode\":\"Manual\","
                        "\"applyMode\":\"Restart\"},\"terminationGracePeriodSeconds\":60,\"enableParavirtualization\":true,"
                        "\"bootloader\":\"BIOS\",\"liveMigrationPolicy\":\"PreferSafe\"}");
}

static void defaults_need_no_right_shape(void)
{
        static const char *const texts[] = {"3", "[]", "{spec: 3}", "{spec: {networks: {a: b}, disruptions: [1], cpu: x}}",
                                            "{spec: {networks: [3]}}"};

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_autoptr(json_doc) doc = test_yaml(texts[i]);

                schema_default(&api_virtual_machine_kind, doc, json_root(doc));
        }
}

static void a_second_default_changes_nothing(void)
{
        for (size_t i = 0; schema_kinds[i]; i++) {
                g_autoptr(json_doc) doc = test_yaml("{metadata: {name: a}}");
                g_autofree char *once = NULL, *twice = NULL;

                schema_default(schema_kinds[i], doc, json_root(doc));
                once = text_of(json_root(doc));
                schema_default(schema_kinds[i], doc, json_root(doc));
                twice = text_of(json_root(doc));
                g_assert_cmpstr(once, ==, twice);
        }
}

/* --- views -----------------------------------------------------------------------------------------------------------------------
 */

static void a_view_holds_what_the_document_says(void)
{
        g_autoptr(json_doc) doc = test_yaml(MACHINE);
        g_autoptr(arena) arena = arena_new(0);
        const struct api_virtual_machine *machine = schema_decode(&api_virtual_machine_type, json_root(doc), arena);

        g_assert_cmpstr(machine->metadata->name, ==, "linux-vm");
        g_assert_cmpuint(machine->metadata->n_labels, ==, 1);
        g_assert_cmpstr(machine->metadata->labels[0].value, ==, "b");
        g_assert_cmpint(machine->spec->cpu->cores, ==, 2);
        g_assert_true(machine->spec->cpu->has_cores);
        g_assert_cmpstr(machine->spec->memory->size, ==, "1Gi");
        g_assert_true(machine->spec->has_enable_paravirtualization);
        g_assert_false(machine->spec->enable_paravirtualization);
        g_assert_false(machine->spec->has_termination_grace_period_seconds);
        g_assert_cmpuint(machine->spec->n_security_groups, ==, 2);
        g_assert_cmpstr(machine->spec->security_groups[1], ==, "db");
        g_assert_cmpuint(machine->spec->n_block_device_refs, ==, 2);
        g_assert_cmpstr(machine->spec->block_device_refs[1].kind, ==, "VirtualImage");
        g_assert_cmpint(machine->spec->tolerations[0].toleration_seconds, ==, 7);
        g_assert_cmpuint(json_length(machine->spec->topology_spread_constraints), ==, 1);
        g_assert_null(machine->spec->provisioning);
        g_assert_cmpint(machine->status->epoch, ==, 3);
        g_assert_cmpstr(machine->status->conditions[0].type, ==, "AgentReady");
}

static void members_of_a_wrong_type_read_as_absent(void)
{
        g_autoptr(json_doc) doc =
                test_yaml("{metadata: [], spec: {cpu: {cores: x, coreFraction: 5}, memory: 3, securityGroups: [a, 1, b], "
                          "nodeSelector: {a: 1, b: c}, blockDeviceRefs: [1, {name: z}], runPolicy: null, osType: {}}}");
        g_autoptr(arena) arena = arena_new(0);
        const struct api_virtual_machine *machine = schema_decode(&api_virtual_machine_type, json_root(doc), arena);

        g_assert_null(machine->metadata);
        g_assert_false(machine->spec->cpu->has_cores);
        g_assert_null(machine->spec->cpu->core_fraction);
        g_assert_null(machine->spec->memory);
        g_assert_cmpuint(machine->spec->n_security_groups, ==, 2);
        g_assert_cmpstr(machine->spec->security_groups[1], ==, "b");
        g_assert_cmpuint(machine->spec->n_node_selector, ==, 1);
        g_assert_cmpuint(machine->spec->n_block_device_refs, ==, 1);
        g_assert_cmpstr(machine->spec->block_device_refs[0].name, ==, "z");
        g_assert_null(machine->spec->run_policy);
        g_assert_null(machine->spec->os_type);
        g_assert_null(schema_decode(&api_virtual_machine_type, NULL, arena));
}

static void encoding_gives_back_what_was_decoded(void)
{
        g_autoptr(json_doc) doc = test_yaml(MACHINE), again = json_doc_new();
        g_autoptr(arena) arena = arena_new(0);
        void *view = schema_decode(&api_virtual_machine_type, json_root(doc), arena);

        json_set_root(again, schema_encode(&api_virtual_machine_type, view, again));
        g_assert_true(json_equal(json_root(doc), json_root(again)));
        g_assert_null(schema_encode(&api_virtual_machine_type, NULL, again));
}

static void numbers_and_texts_keep_their_kind_where_both_may_stand(void)
{
        g_autoptr(json_doc) doc = test_yaml(
                "{coreFractions: [5, 20%, '007'], defaultCoreFraction: 100, memory: {min: 1Gi}, dedicatedCores: [true, false]}");
        g_autoptr(json_doc) again = json_doc_new();
        g_autoptr(arena) arena = arena_new(0);
        struct api_sizing_policy *policy = schema_decode(&api_sizing_policy_type, json_root(doc), arena);

        g_assert_cmpstr(policy->core_fractions[0], ==, "5");
        g_assert_cmpstr(policy->default_core_fraction, ==, "100");
        g_assert_cmpuint(policy->n_dedicated_cores, ==, 2);
        g_assert_true(policy->dedicated_cores[0]);
        json_set_root(again, schema_encode(&api_sizing_policy_type, policy, again));
        g_assert_true(json_equal(json_root(doc), json_root(again)));
}

static void an_overlay_writes_what_it_knows_and_keeps_the_rest(void)
{
        static const struct {
                const char *target, *view, *result;
        } cases[] = {
                {"{phase: Pending, extra: 1}", "{phase: Running}", "{phase: Running, extra: 1}"},
                {"{phase: Running, nodeName: a, extra: 1}", "{phase: Stopped}", "{phase: Stopped, extra: 1}"},
                {"{resources: {cpu: {cores: 1, more: x}}}", "{resources: {cpu: {cores: 2}}}",
                 "{resources: {cpu: {cores: 2, more: x}}}"},
                {"{resources: {cpu: {cores: 1, more: x}}}", "{}", "{}"},
                {"{conditions: [{type: A, status: 'True', more: x}, {type: B, status: 'True'}]}",
                 "{conditions: [{type: C, status: 'False'}, {type: A, status: 'False'}]}",
                 "{conditions: [{type: C, status: 'False'}, {type: A, status: 'False', more: x}]}"},
                {"{restartAwaitingChanges: [{path: a, more: x}]}", "{restartAwaitingChanges: [{path: a, currentValue: [1]}]}",
                 "{restartAwaitingChanges: [{path: a, currentValue: [1]}]}"},
                {"{restartAwaitingChanges: [{path: a}]}", "{restartAwaitingChanges: []}", "{restartAwaitingChanges: []}"},
                {"{hardware: {a: 1}}", "{hardware: {b: 2}}", "{hardware: {b: 2}}"},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(json_doc) target = test_yaml(cases[i].target), source = test_yaml(cases[i].view),
                                    result = test_yaml(cases[i].result);
                g_autoptr(arena) arena = arena_new(0);
                void *view = schema_decode(&api_virtual_machine_status_type, json_root(source), arena);
                g_autofree char *text = NULL, *expect = text_of(json_root(result));

                schema_overlay(&api_virtual_machine_status_type, view, target, json_root(target));
                text = text_of(json_root(target));
                g_assert_cmpstr(text, ==, expect);
        }
}

/* --- sensitive and volatile ------------------------------------------------------------------------------------------------------
 */

static void sensitive_values_are_hidden_everywhere(void)
{
        g_autoptr(json_doc) doc =
                test_yaml("{metadata: {name: s, annotations: {kubectl.kubernetes.io/last-applied-configuration: hush, b: c}}, "
                          "type: Opaque, data: {userData: aHVzaA==, b: aHVzaA==}, stringData: {c: hush}}");
        g_autofree char *text = NULL;

        schema_clear_sensitive(&api_secret_kind, doc, json_root(doc));
        text = text_of(json_root(doc));
        g_assert_cmpstr(
                text, ==,
                "{\"metadata\":{\"name\":\"s\",\"annotations\":{\"kubectl.kubernetes.io/last-applied-configuration\":\"(hidden)\","
                "\"b\":\"c\"}},\"type\":\"Opaque\",\"data\":{\"userData\":\"(hidden)\",\"b\":\"(hidden)\"},"
                "\"stringData\":{\"c\":\"(hidden)\"}}");
}

static void kinds_without_secrets_are_left_as_they_are(void)
{
        g_autoptr(json_doc) doc =
                test_yaml("{metadata: {name: s, annotations: {kubectl.kubernetes.io/last-applied-configuration: x}}}");
        g_autofree char *before = text_of(json_root(doc)), *after = NULL;

        schema_clear_sensitive(&api_config_map_kind, doc, json_root(doc));
        after = text_of(json_root(doc));
        g_assert_cmpstr(before, ==, after);
}

static void changes_of_volatile_fields_alone_are_known(void)
{
        static const struct {
                const struct schema_kind *kind;
                const char *a, *b;
                bool volatile_only;
        } cases[] = {
                {&api_virtual_disk_kind, "{status: {progress: 1%}}", "{status: {progress: 2%}}", true},
                {&api_virtual_disk_kind, "{status: {progress: 1%}}", "{status: {}}", true},
                {&api_virtual_disk_kind, "{}", "{status: {progress: 1%}}", true},
                {&api_virtual_disk_kind, "{status: {phase: Ready}}", "{status: {phase: Failed}}", false},
                {&api_virtual_disk_kind, "{status: {phase: Ready, progress: 1%}}", "{status: {phase: Failed, progress: 2%}}",
                 false},
                {&api_virtual_disk_kind, "{status: {downloadSpeed: {avg: a}}}", "{status: {downloadSpeed: {avg: b}}}", true},
                {&api_virtual_disk_kind, "{metadata: {resourceVersion: '1', managedFields: [1]}}",
                 "{metadata: {resourceVersion: '2'}}", true},
                {&api_virtual_disk_kind, "{metadata: {labels: {a: b}}}", "{metadata: {labels: {a: c}}}", false},
                {&api_virtual_disk_kind, "{metadata: {foreign: 1}}", "{metadata: {foreign: 2}}", false},
                {&api_virtual_disk_kind, "{spec: {}}", "{}", true},
                {&api_virtual_disk_kind, "{spec: 1}", "{spec: {}}", false},
                {&api_storage_pool_kind, "{status: {nodes: [{name: a, availableBytes: 1}]}}",
                 "{status: {nodes: [{name: a, availableBytes: 2}]}}", true},
                {&api_storage_pool_kind, "{status: {nodes: [{name: a}]}}", "{status: {nodes: [{name: a}, {name: b}]}}", false},
                {&api_node_kind, "{status: {conditions: [{type: Ready, lastHeartbeatTime: a}]}}",
                 "{status: {conditions: [{type: Ready, lastHeartbeatTime: b}]}}", true},
                {&api_lease_kind, "{spec: {renewTime: a}}", "{spec: {renewTime: b}}", true},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(json_doc) a = test_yaml(cases[i].a), b = test_yaml(cases[i].b);

                g_assert_cmpint(schema_changes_only_volatile(cases[i].kind, json_root(a), json_root(b)), ==,
                                cases[i].volatile_only);
                g_assert_cmpint(schema_changes_only_volatile(cases[i].kind, json_root(b), json_root(a)), ==,
                                cases[i].volatile_only);
        }
}

/* --- cells -----------------------------------------------------------------------------------------------------------------------
 */

/* The line of a table, cells joined by '|'. */
static char *row(const struct schema_kind *kind, const char *text, bool wide)
{
        g_autoptr(json_doc) doc = test_yaml(text);
        GString *line = g_string_new(NULL);
        uint64_t now_us;

        g_assert_cmpint(clock_parse_rfc3339("2026-01-01T00:11:00Z", &now_us), ==, 0);
        for (const struct schema_column *column = kind->columns; column->name; column++) {
                g_autofree char *cell = NULL;

                if (column->priority > 0 && !wide)
                        continue;
                cell = schema_cell(column, json_root(doc), now_us);
                g_string_append_printf(line, "%s%s", line->len > 0 ? "|" : "", cell ?: "-");
        }
        return g_string_free(line, FALSE);
}

static char *header(const struct schema_kind *kind, bool wide)
{
        GString *line = g_string_new(NULL);

        for (const struct schema_column *column = kind->columns; column->name; column++) {
                g_autofree char *upper = g_ascii_strup(column->name, -1);

                if (column->priority == 0 || wide)
                        g_string_append_printf(line, "%s%s", line->len > 0 ? "|" : "", upper);
        }
        return g_string_free(line, FALSE);
}

#define CREATED "metadata: {name: linux-vm, creationTimestamp: '2026-01-01T00:00:00Z'}"

static void machines_have_the_columns_of_the_narrow_and_the_wide_table_D63_D64(void)
{
        static const char text[] =
                "{" CREATED
                ", status: {phase: Running, nodeName: virtlab-pt-2, ipAddress: 10.66.10.12, resources: {cpu: {cores: 6, "
                "coreFraction: 5%}, memory: {size: 8000Mi}}, conditions: [{type: AwaitingRestartToApplyConfiguration, status: "
                "'False'}, "
                "{type: AgentReady, status: 'True'}, {type: Migratable, status: 'True'}]}}";
        g_autofree char *narrow = row(&api_virtual_machine_kind, text, false), *wide = row(&api_virtual_machine_kind, text, true);
        g_autofree char *narrow_header = header(&api_virtual_machine_kind, false),
                        *wide_header = header(&api_virtual_machine_kind, true);
        g_autofree char *empty = row(&api_virtual_machine_kind, "{" CREATED "}", true);

        g_assert_cmpstr(narrow_header, ==, "NAME|PHASE|NODE|IPADDRESS|AGE");
        g_assert_cmpstr(narrow, ==, "linux-vm|Running|virtlab-pt-2|10.66.10.12|11m");
        g_assert_cmpstr(wide_header, ==, "NAME|PHASE|CORES|COREFRACTION|MEMORY|NEED RESTART|AGENT|MIGRATABLE|NODE|IPADDRESS|AGE");
        g_assert_cmpstr(wide, ==, "linux-vm|Running|6|5%|8000Mi|False|True|True|virtlab-pt-2|10.66.10.12|11m");
        g_assert_cmpstr(empty, ==, "linux-vm|-|-|-|-|-|-|-|-|-|11m");
}

static void every_table_has_its_columns_D74_D136_D137(void)
{
        static const struct {
                const struct schema_kind *kind;
                const char *header, *text, *row;
        } cases[] = {
                {&api_virtual_machine_operation_kind, "NAME|PHASE|TYPE|VIRTUALMACHINE|AGE",
                 "{" CREATED ", spec: {type: Stop, virtualMachineName: v}, status: {phase: Completed}}",
                 "linux-vm|Completed|Stop|v|11m"},
                {&api_virtual_machine_ip_address_lease_kind, "NAME|VIRTUALMACHINEIPADDRESS|STATUS|AGE",
                 "{" CREATED
                 ", spec: {virtualMachineIPAddressRef: {name: linux-vm-7prpx, namespace: default}}, status: {phase: Bound}}",
                 "linux-vm|{\"name\":\"linux-vm-7prpx\",\"namespace\":\"default\"}|Bound|11m"},
                {&api_virtual_machine_ip_address_kind, "NAME|ADDRESS|STATUS|VM|AGE",
                 "{" CREATED ", status: {phase: Attached, address: 10.66.10.14, virtualMachineName: v}}",
                 "linux-vm|10.66.10.14|Attached|v|11m"},
                {&api_virtual_machine_class_kind, "NAME|PHASE|ISDEFAULT|AGE",
                 "{metadata: {name: generic, annotations: {virtualmachineclass.virtualization.deckhouse.io/is-default-class: "
                 "'true'}}}",
                 "generic|-|true|-"},
                {&api_secret_kind, "NAME|TYPE|DATA|AGE", "{" CREATED ", type: Opaque, data: {a: '', b: ''}}",
                 "linux-vm|Opaque|2|11m"},
                {&api_config_map_kind, "NAME|DATA|AGE", "{" CREATED "}", "linux-vm|0|11m"},
                {&api_namespace_kind, "NAME|STATUS|AGE", "{" CREATED ", status: {phase: Active}}", "linux-vm|Active|11m"},
                {&api_node_kind, "NAME|STATUS|ROLES|AGE|VERSION",
                 "{metadata: {name: n, labels: {node-role.kubernetes.io/a: '', node-role.kubernetes.io/b: ''}}, spec: "
                 "{unschedulable: true}, "
                 "status: {nodeInfo: {kubeletVersion: v1}, conditions: [{type: Ready, status: 'True'}]}}",
                 "n|Ready,SchedulingDisabled|a,b|-|v1"},
                {&api_node_kind, "NAME|STATUS|ROLES|AGE|VERSION",
                 "{metadata: {name: n}, status: {conditions: [{type: Ready, status: 'False'}]}}", "n|NotReady|<none>|-|-"},
                {&api_node_kind, "NAME|STATUS|ROLES|AGE|VERSION", "{metadata: {name: n}}", "n|Unknown|<none>|-|-"},
                {&api_event_kind, "LAST SEEN|TYPE|REASON|OBJECT|MESSAGE",
                 "{metadata: {name: e}, lastTimestamp: '2026-01-01T00:10:30Z', type: Normal, reason: Started, message: it runs, "
                 "involvedObject: {kind: VirtualMachine, name: v}}",
                 "30s|Normal|Started|virtualmachine/v|it runs"},
                {&api_token_kind, "NAME|TYPE|USER|EXPIRES|AGE",
                 "{metadata: {name: t}, spec: {type: Join, expires: '2026-01-01T00:12:00Z'}}", "t|Join|-|in 60s|-"},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *line = row(cases[i].kind, cases[i].text, false), *titles = header(cases[i].kind, false);

                g_assert_cmpstr(titles, ==, cases[i].header);
                g_assert_cmpstr(line, ==, cases[i].row);
        }
}

static void a_cell_of_a_document_without_sense_is_empty(void)
{
        static const char *const texts[] = {"3", "[]", "{metadata: 3, spec: [1], status: {conditions: {a: b}, resources: 3}}",
                                            "{metadata: {creationTimestamp: yesterday}}"};

        for (size_t k = 0; schema_kinds[k]; k++)
                for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                        g_autofree char *line = row(schema_kinds[k], texts[i], true);

                        g_assert_nonnull(line);
                }
}

/* --- formats ---------------------------------------------------------------------------------------------------------------------
 */

static void formats_hold_or_do_not(void)
{
        static const struct {
                enum schema_format format;
                const char *good[8], *bad[14];
        } cases[] = {
                {SCHEMA_FORMAT_LABEL, {"a", "a-1"}, {"", "A", "-a", "a.b"}},
                {SCHEMA_FORMAT_SUBDOMAIN, {"a.b", "1"}, {"", "a..b", "a_b"}},
                {SCHEMA_FORMAT_LABEL_VALUE, {"", "A_b.c-1"}, {"-a", "a b"}},
                {SCHEMA_FORMAT_IP, {"10.0.0.1", "::1"}, {"", "10.0.0", "010.0.0.1", "a"}},
                {SCHEMA_FORMAT_CIDR, {"10.0.0.0/8", "fd00::/8"}, {"10.0.0.1/8", "10.0.0.0", "10.0.0.0/33"}},
                {SCHEMA_FORMAT_MAC, {"52:54:00:aa:BB:00"}, {"52:54:00:aa:BB", "52-54-00-aa-BB-00"}},
                {SCHEMA_FORMAT_UUID, {"123e4567-e89b-42d3-a456-426614174000"}, {"123e4567"}},
                {SCHEMA_FORMAT_URL,
                 {"https://example.com/a?b", "http://[::1]:80/"},
                 {"", "ftp://a/b", "https://", "https:///a", "http://u:p@h/", "http://a b/", "HTTP://a", "http://a/\n",
                  "http://:80/"}},
                {SCHEMA_FORMAT_SHA256, {"0123456789abcdefABCDEF0123456789abcdefABCDEF0123456789abcdefABCD"}, {"", "12", "g"}},
                {SCHEMA_FORMAT_PERCENT, {"1%", "20%", "100%"}, {"", "0%", "101%", "5", "05%", "%", "1.5%", " 1%", "1000%"}},
                {SCHEMA_FORMAT_PATH, {"/a", "/a/b.c/..d"}, {"", "/", "a", "/a/", "//a", "/a/../b", "/./a", "/..", "/a\n"}},
                {SCHEMA_FORMAT_BYTE,
                 {"", "aGk=", "aGkh", "YQ==", "aG\nk="},
                 {"a", "aGk", "a===", "aGk=a", "aG k=", "====", "a=Gk"}},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                for (size_t n = 0; cases[i].good[n]; n++)
                        g_assert_cmpstr(format_check(cases[i].format, cases[i].good[n]), ==, NULL);
                for (size_t n = 0; cases[i].bad[n]; n++)
                        g_assert_nonnull(format_check(cases[i].format, cases[i].bad[n]));
        }
}

/* --- registry and documents ------------------------------------------------------------------------------------------------------
 */

static void every_kind_is_found_by_its_names(void)
{
        for (size_t i = 0; schema_kinds[i]; i++) {
                g_assert_true(schema_kind_by_kind(schema_kinds[i]->group, schema_kinds[i]->kind) == schema_kinds[i]);
                g_assert_true(schema_kind_by_plural(schema_kinds[i]->group, schema_kinds[i]->plural) == schema_kinds[i]);
        }
        g_assert_null(schema_kind_by_kind("", "VirtualMachine"));
        g_assert_null(schema_kind_by_plural("gabbro.dev", "secrets"));
}

static void kinds_say_who_sees_them(void)
{
        g_assert_true(api_token_kind.internal);
        g_assert_true(api_instance_kind.hidden && api_volume_kind.hidden && api_port_kind.hidden && api_host_task_kind.hidden);
        g_assert_true(api_secret_kind.sealed && api_secret_kind.core);
        g_assert_cmpint(api_lease_kind.history, ==, SCHEMA_HISTORY_NONE);
        g_assert_cmpint(api_event_kind.history, ==, SCHEMA_HISTORY_NONE);
        g_assert_cmpstr(api_virtual_machine_kind.aliases[0], ==, "virtualization.deckhouse.io/v1alpha2");
        g_assert_cmpstr(api_virtual_machine_kind.short_names[0], ==, "vm");
}

/* Types must not nest deeper than the walks go. */
static unsigned depth_of(const struct schema_type *type, unsigned depth)
{
        unsigned deepest = depth;

        g_assert_cmpuint(depth, <, WALK_DEPTH_MAX);
        for (const struct schema_field *field = type->fields; field->name; field++)
                if (field->value == SCHEMA_OBJECT)
                        deepest = MAX(deepest, depth_of(field->type, depth + 1));
        return deepest;
}

static void tables_are_whole(void)
{
        for (size_t i = 0; schema_kinds[i]; i++) {
                const struct schema_kind *kind = schema_kinds[i];

                g_assert_cmpuint(depth_of(kind->type, 1), <, WALK_DEPTH_MAX / 2);
                g_assert_nonnull(kind->columns[0].name);
                for (const struct schema_field *field = kind->type->fields; field->name; field++)
                        g_assert_cmpuint(strlen(field->doc), >, 0);
        }
}

static void reasons_are_registered(void)
{
        g_assert_cmpstr(reason_text(REASON_NO_SUITABLE_NODE), ==, "No node fulfils every requirement of the machine.");
        g_assert_null(reason_text("NoSuchReason"));
        g_assert_null(reason_text(NULL));
        g_assert_null(reason_text(""));
        for (size_t i = 0; i < n_reasons; i++) {
                g_assert_true(reason_find(reasons[i].code) == &reasons[i]);
                g_assert_cmpuint(strlen(reasons[i].text), >, 0);
        }
}

static void documents_of_openapi_are_json(void)
{
        struct schema_blob index = schema_openapi_v3_index(), v2 = schema_openapi_v2_json();
        g_autoptr(json_doc) doc = NULL, index_doc = NULL;
        size_t n = 0;

        g_assert_cmpint(json_parse((const char *)v2.data, v2.len, &doc, NULL), ==, 0);
        g_assert_cmpint(json_parse((const char *)index.data, index.len, &index_doc, NULL), ==, 0);
        for (const struct json_value *path = json_first(json_get(json_root(index_doc), "paths")); path;
             path = json_next(path), n++) {
                struct schema_blob blob = schema_openapi_v3(json_key(path));
                g_autoptr(json_doc) one = NULL;

                g_assert_cmpint(json_parse((const char *)blob.data, blob.len, &one, NULL), ==, 0);
                g_assert_cmpstr(json_find_string(json_root(one), "openapi", NULL), ==, "3.0.0");
        }
        g_assert_cmpuint(n, ==, 6);
        g_assert_null(schema_openapi_v3("apis/example.com/v1").data);
        g_assert_cmpmem(schema_openapi_v2_protobuf().data, 5,
                        "\x0a\x03"
                        "2.0",
                        5);
        g_assert_nonnull(at(doc, "/definitions/dev.gabbro.v1.VirtualMachine/properties/spec"));
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
#define ADD(group, name) g_test_add_func("/schema/" group "/" #name, name)
        ADD("shape", unknown_members_are_kept_refused_or_dropped);
        ADD("shape", a_null_means_absent_unless_the_field_is_nullable);
        ADD("shape", wrong_types_are_told_with_their_places);
        ADD("shape", long_values_are_cut_in_messages);
        ADD("shape", faults_are_counted_beyond_those_that_are_kept);
        ADD("default", absent_fields_get_their_defaults);
        ADD("default", defaults_need_no_right_shape);
        ADD("default", a_second_default_changes_nothing);
        ADD("view", a_view_holds_what_the_document_says);
        ADD("view", members_of_a_wrong_type_read_as_absent);
        ADD("view", encoding_gives_back_what_was_decoded);
        ADD("view", numbers_and_texts_keep_their_kind_where_both_may_stand);
        ADD("view", an_overlay_writes_what_it_knows_and_keeps_the_rest);
        ADD("changes", sensitive_values_are_hidden_everywhere);
        ADD("changes", kinds_without_secrets_are_left_as_they_are);
        ADD("changes", changes_of_volatile_fields_alone_are_known);
        ADD("cell", machines_have_the_columns_of_the_narrow_and_the_wide_table_D63_D64);
        ADD("cell", every_table_has_its_columns_D74_D136_D137);
        ADD("cell", a_cell_of_a_document_without_sense_is_empty);
        ADD("format", formats_hold_or_do_not);
        ADD("registry", every_kind_is_found_by_its_names);
        ADD("registry", kinds_say_who_sees_them);
        ADD("registry", tables_are_whole);
        ADD("registry", reasons_are_registered);
        ADD("registry", documents_of_openapi_are_json);
#undef ADD
        return g_test_run();
}
