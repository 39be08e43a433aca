/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/migration/migration.h"

#include "controllers/disk/disk.h"
#include "controllers/image/image.h"
#include "controllers/migration/migration_hosts.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

/* --- finding --- */

static GPtrArray *standing_by(const struct cache *cache, const char *machine_uid)
{
        return cache_lookup(cache, INDEX_STANDBY_BY_MACHINE, machine_uid);
}

static bool is_of(const struct cache_object *intent, const char *operation_uid)
{
        const char *standby = object_annotation(intent, ANNOTATION_STANDBY);

        return standby && g_str_has_suffix(standby, operation_uid);
}

const struct cache_object *migration_target(const struct cache *cache, const struct cache_object *machine)
{
        g_autoptr(GPtrArray) all = standing_by(cache, machine->uid);

        assert(cache && machine);
        for (guint i = 0; all && i < all->len; i++) {
                const struct cache_object *object = all->pdata[i];
                const struct api_instance *view = object->kind == &api_instance_kind ? object->view : NULL;

                if (view && !object_deleting(object) && view->spec->incoming)
                        return object;
        }
        return NULL;
}

bool migration_holds(const struct cache *cache, const struct cache_object *machine)
{
        const struct cache_object *instance;

        assert(cache && machine);
        if (migration_target(cache, machine))
                return true;
        instance = index_one(cache, INDEX_INSTANCE_BY_MACHINE, machine->uid);
        return instance && ((const struct api_instance *)instance->view)->spec->outgoing;
}

void migration_enqueue_operation(const struct cache *cache, const struct cache_object *intent, struct workqueue *queue)
{
        const char *standby = object_annotation(intent, ANNOTATION_STANDBY), *uid = standby ? strchr(standby, ' ') : NULL;
        const struct cache_object *operation = uid ? cache_by_uid(cache, uid + 1) : NULL;

        assert(cache && intent && queue);
        if (operation)
                controller_enqueue(queue, operation->namespace, operation->name);
}

void migration_enqueue_machine(const struct cache *cache, const struct cache_object *intent, struct workqueue *queue)
{
        const char *standby = object_annotation(intent, ANNOTATION_STANDBY);
        g_autofree char *uid = standby ? g_strndup(standby, strcspn(standby, " ")) : NULL;
        const struct cache_object *machine = uid ? cache_by_uid(cache, uid) : NULL;

        assert(cache && intent && queue);
        if (machine)
                controller_enqueue(queue, machine->namespace, machine->name);
}

static const char *state_of(const struct cache_object *intent)
{
        if (intent->kind == &api_instance_kind) {
                const struct api_instance *view = intent->view;

                return view->status ? view->status->state : NULL;
        }
        if (intent->kind == &api_port_kind) {
                const struct api_port *view = intent->view;

                return view->status ? view->status->state : NULL;
        }
        if (intent->kind == &api_host_task_kind) {
                const struct api_host_task *view = intent->view;

                return view->status ? view->status->state : NULL;
        }
        const struct api_volume *view = intent->view;

        return view->status ? view->status->state : NULL;
}

/* What was only asked for an operation that is no more: one that was deleted before it began. */
static bool is_orphan(const struct cache *cache, const struct cache_object *intent)
{
        const char *standby = object_annotation(intent, ANNOTATION_STANDBY), *uid = standby ? strchr(standby, ' ') : NULL;

        return intent->kind == &api_host_task_kind && uid && !cache_by_uid(cache, uid + 1);
}

bool migration_sweep(struct turn *turn, const struct cache_object *machine, bool all)
{
        g_autoptr(GPtrArray) intents = standing_by(turn_cache(turn), machine->uid);
        bool none = true;

        assert(turn && machine);
        for (guint i = 0; intents && i < intents->len; i++) {
                const struct cache_object *intent = intents->pdata[i];

                if (!all && !object_deleting(intent) && !is_orphan(turn_cache(turn), intent))
                        none = false;
                else
                        none &= intent_retire(turn, intent, state_of(intent));
        }
        return none;
}

/* --- making --- */

struct making {
        struct op *op;
        struct arena *arena;
        const char *node, *mark;
        struct intent_owner machine;
        bool cold;
};

static void mark(const struct making *making, struct api_object_meta *meta, const struct api_pair *more, size_t n_more)
{
        struct api_pair *annotations = arena_array(making->arena, n_more + 1, sizeof(*annotations));

        for (size_t i = 0; i < n_more; i++)
                annotations[i] = more[i];
        annotations[n_more] = (struct api_pair){ANNOTATION_STANDBY, making->mark};
        meta->annotations = annotations;
        meta->n_annotations = n_more + 1;
}

/* Where the file of a disk is now. */
static struct api_volume_receive *receive(const struct making *making, const struct api_volume_spec *from)
{
        const struct cache_object *node = cache_get(making->op->cache, &api_node_kind, NULL, from->node_name);
        const struct api_machine_migrate *how = making->op->view->spec->migrate;
        struct api_volume_receive *receive = arena_new0(making->arena, struct api_volume_receive);

        *receive = (struct api_volume_receive){.node = from->node_name,
                                               .address = node ? migration_host_address(node) : NULL,
                                               .pool = from->pool->name,
                                               .volume_name = from->volume_name};
        if (how && how->has_bandwidth_mib_per_second) {
                receive->bandwidth_mib_per_second = how->bandwidth_mib_per_second;
                receive->has_bandwidth_mib_per_second = true;
        }
        return receive;
}

/* As it is here: of the size that its file has; empty, or the same file. */
static const char *make_volume(const struct making *making, const struct cache_object *object)
{
        const struct api_volume *view = object->view;
        const struct api_object_ref *ref = view->spec->owner;
        struct intent_owner owner = {.kind = ref->kind, .namespace = ref->namespace, .name = ref->name, .uid = ref->uid};
        const char *name = intent_free_name(making->op->cache, &api_volume_kind, making->arena, 'v', ref->uid, 1);
        struct api_volume_spec spec = *view->spec;
        struct api_volume volume = {.metadata = intent_meta(making->arena, &owner, name, making->node), .spec = &spec};

        spec.node_name = making->node;
        spec.source = NULL;
        spec.copy = NULL;
        spec.receive = making->cold ? receive(making, view->spec) : NULL;
        if (making->cold)
                migration_digest_make(making->op, object, making->mark);
        if (view->status && view->status->has_capacity_bytes)
                spec.capacity_bytes = view->status->capacity_bytes;
        mark(making, volume.metadata, NULL, 0);
        turn_create(making->op->turn, &api_volume_kind, &volume);
        turn_depends(making->op->turn, object);
        return name;
}

/* The Port without what earlier moves added to its name, and the first number that is free. */
static const char *port_name(const struct making *making, const char *from)
{
        size_t base = strlen("p-") + strlen(making->machine.uid) + 1;
        const char *name;
        unsigned n = 1;

        base += strcspn(from + base, "-");
        do
                name = arena_printf(making->arena, "%.*s-%u", (int)base, from, n++);
        while (cache_get(making->op->cache, &api_port_kind, NULL, name));
        return name;
}

static const char *make_port(const struct making *making, const struct cache_object *object)
{
        const struct api_port *view = object->view;
        const char *name = port_name(making, object->name);
        struct api_port_spec spec = *view->spec;
        struct api_port port = {.metadata = intent_meta(making->arena, &making->machine, name, making->node), .spec = &spec};

        spec.node_name = making->node;
        mark(making, port.metadata, NULL, 0);
        turn_create(making->op->turn, &api_port_kind, &port);
        turn_depends(making->op->turn, object);
        return name;
}

static bool make_disks(const struct making *making, struct api_instance_spec *spec, const char **reterr_words)
{
        struct api_instance_disk *disks = arena_array(making->arena, spec->n_disks, sizeof(*disks));

        for (size_t i = 0; i < spec->n_disks; i++) {
                const struct cache_object *volume, *image;

                disks[i] = spec->disks[i];
                if (!disks[i].volume)
                        continue;
                volume = cache_get(making->op->cache, &api_volume_kind, NULL, disks[i].volume);
                if (volume && g_strcmp0(disks[i].kind, "Disk") == 0) {
                        disks[i].volume = make_volume(making, volume);
                        continue;
                }
                image = volume ? cache_by_uid(making->op->cache, ((const struct api_volume *)volume->view)->spec->owner->uid)
                               : NULL;
                *reterr_words = arena_printf(making->arena, "the image of %s is no more", disks[i].name);
                disks[i].volume =
                        image ? image_volume_bind(making->op->turn, image, making->node, making->machine.uid, reterr_words) : NULL;
                if (!disks[i].volume)
                        return false;
        }
        spec->disks = disks;
        return true;
}

static bool make_ports(const struct making *making, struct api_instance_spec *spec, const char **reterr_words)
{
        const char **ports = arena_array(making->arena, spec->n_ports, sizeof(*ports));
        const char **down = arena_array(making->arena, spec->n_down_ports, sizeof(*down));

        for (size_t i = 0; i < spec->n_ports; i++) {
                const struct cache_object *port = cache_get(making->op->cache, &api_port_kind, NULL, spec->ports[i]);

                if (!port) {
                        *reterr_words = arena_printf(making->arena, "its interface %zu is no more", i + 1);
                        return false;
                }
                ports[i] = make_port(making, port);
                for (size_t j = 0; j < spec->n_down_ports; j++)
                        if (strcmp(spec->down_ports[j], spec->ports[i]) == 0)
                                down[j] = ports[i];
        }
        spec->ports = ports;
        spec->down_ports = down;
        return true;
}

bool migration_intents_make(struct op *op, const char *node, const char **reterr_words)
{
        struct arena *arena = turn_arena(op->turn);
        bool cold = op->status.migration && op->status.migration->cold;
        struct making making = {.op = op, .arena = arena, .node = node, .machine = intent_owner_of(op->machine), .cold = cold};
        const char *name = intent_free_name(op->cache, &api_instance_kind, arena, 'i', op->machine->uid, 1);
        const struct api_object_meta *before = object_meta(op->instance);
        const struct api_instance_status *status = op->domain->status;
        struct api_instance_incoming incoming = {.operation = op->object->uid,
                                                 .node = op->domain->spec->node_name,
                                                 .started_at = status ? status->started_at : NULL,
                                                 .has_look = true,
                                                 .cold = cold,
                                                 .has_cold = cold};
        struct api_instance_spec spec = *op->domain->spec;
        struct api_instance instance = {.metadata = intent_meta(arena, &making.machine, name, node), .spec = &spec};

        assert(op->machine && op->instance && node && reterr_words);
        making.mark = arena_printf(arena, "%s %s", op->machine->uid, op->object->uid);
        spec.node_name = node;
        spec.outgoing = NULL;
        spec.incoming = &incoming;
        if (op->vm->status && op->vm->status->hardware)
                spec.hardware = op->vm->status->hardware;
        if (!make_disks(&making, &spec, reterr_words) || !make_ports(&making, &spec, reterr_words))
                return false;
        mark(&making, instance.metadata, before->annotations, before->n_annotations);
        turn_create(op->turn, &api_instance_kind, &instance);
        turn_depends(op->turn, op->instance);
        return true;
}

/* --- what the source is told --- */

struct api_instance_outgoing *migration_outgoing(struct op *op, const struct cache_object *target)
{
        struct arena *arena = turn_arena(op->turn);
        const struct api_instance *there = target->view;
        const struct cache_object *node = cache_get(op->cache, &api_node_kind, NULL, there->spec->node_name);
        const struct api_machine_migrate *how = op->view->spec->migrate;
        struct api_instance_outgoing *outgoing = arena_new0(arena, struct api_instance_outgoing);
        struct api_instance_port_move *ports = arena_array(arena, there->spec->n_ports, sizeof(*ports));
        size_t n = MIN(there->spec->n_ports, op->domain->spec->n_ports);

        assert(node && there->status && there->status->migration);
        for (size_t i = 0; i < n; i++)
                ports[i] = (struct api_instance_port_move){.from = op->domain->spec->ports[i], .to = there->spec->ports[i]};
        *outgoing = (struct api_instance_outgoing){
                .operation = op->object->uid,
                .instance = target->uid,
                .node = there->spec->node_name,
                .address = migration_host_address(node),
                .files = there->status->migration->files,
                .n_files = there->status->migration->n_files,
                .ports = ports,
                .n_ports = n,
                .graphics_address = op->domain->spec->graphics_port ? migration_host_graphics_address(node) : NULL,
                .auto_converge = op->status.migration->auto_converge,
                .has_auto_converge = true,
                .bandwidth_mib_per_second = how && how->has_bandwidth_mib_per_second ? how->bandwidth_mib_per_second : 0,
                .has_bandwidth_mib_per_second = how && how->has_bandwidth_mib_per_second,
                .downtime_ms = how && how->has_downtime_ms ? how->downtime_ms : 0,
                .has_downtime_ms = how && how->has_downtime_ms,
        };
        return outgoing;
}

/* --- the end --- */

/* Volumes of disks that the machine leaves behind, and the place of the disks from now on. */
static void leave_volumes(struct op *op, const char *mark_text, const char *node)
{
        for (size_t i = 0; i < op->domain->spec->n_disks; i++) {
                const struct api_instance_disk *disk = &op->domain->spec->disks[i];
                const struct cache_object *volume =
                        disk->volume ? cache_get(op->cache, &api_volume_kind, NULL, disk->volume) : NULL;
                const struct cache_object *owner;

                if (!volume || g_strcmp0(disk->kind, "Disk") != 0)
                        continue;
                owner = cache_by_uid(op->cache, ((const struct api_volume *)volume->view)->spec->owner->uid);
                if (owner)
                        turn_set_annotation(op->turn, owner, ANNOTATION_SELECTED_NODE, node);
                turn_set_annotation(op->turn, volume, ANNOTATION_STANDBY, mark_text);
                turn_delete(op->turn, volume);
        }
}

static void leave_ports(struct op *op, const char *mark_text)
{
        for (size_t i = 0; i < op->domain->spec->n_ports; i++) {
                const struct cache_object *port = cache_get(op->cache, &api_port_kind, NULL, op->domain->spec->ports[i]);

                if (port) {
                        turn_set_annotation(op->turn, port, ANNOTATION_STANDBY, mark_text);
                        turn_delete(op->turn, port);
                }
        }
}

/* What the vm controller has noted with the Instance meanwhile. */
static void carry_notes(struct op *op, const struct cache_object *target)
{
        static const char *const notes[] = {ANNOTATION_APPLIED, ANNOTATION_POWER_REASON, ANNOTATION_OPERATION, ANNOTATION_BACK_OFF};

        for (size_t i = 0; i < G_N_ELEMENTS(notes); i++)
                turn_set_annotation(op->turn, target, notes[i], object_annotation(op->instance, notes[i]));
}

/* What stood by is the machine's now; what was only asked for the move goes. */
static void take_over(struct op *op, const struct cache_object *intent)
{
        const struct api_volume *volume = intent->kind == &api_volume_kind ? intent->view : NULL;
        struct api_volume_spec spec;

        if (intent->kind == &api_host_task_kind) {
                turn_delete(op->turn, intent);
                return;
        }
        turn_set_annotation(op->turn, intent, ANNOTATION_STANDBY, NULL);
        if (volume && volume->spec->receive) {
                spec = *volume->spec;
                spec.receive = NULL;
                turn_update_spec(op->turn, intent, &spec);
        }
}

void migration_intents_exchange(struct op *op, const struct cache_object *target)
{
        const char *text = arena_printf(turn_arena(op->turn), "%s %s", op->machine->uid, op->object->uid);
        g_autoptr(GPtrArray) coming = standing_by(op->cache, op->machine->uid);
        struct api_instance_spec spec = *((const struct api_instance *)target->view)->spec;

        assert(op && target && op->instance);
        leave_volumes(op, text, spec.node_name);
        leave_ports(op, text);
        turn_set_annotation(op->turn, op->instance, ANNOTATION_STANDBY, text);
        turn_delete(op->turn, op->instance);
        for (guint i = 0; coming && i < coming->len; i++)
                if (!object_deleting(coming->pdata[i]) && is_of(coming->pdata[i], op->object->uid))
                        take_over(op, coming->pdata[i]);
        carry_notes(op, target);
        spec.incoming = NULL;
        turn_update_spec(op->turn, target, &spec);
}

bool migration_intents_retire(struct op *op)
{
        g_autoptr(GPtrArray) coming = standing_by(op->cache, op->machine->uid);
        bool ended = true;

        assert(op && op->machine);
        for (guint i = 0; coming && i < coming->len; i++) {
                const struct cache_object *intent = coming->pdata[i];

                if (!is_of(intent, op->object->uid))
                        continue;
                if (intent->kind == &api_instance_kind && g_strcmp0(state_of(intent), "Gone") != 0)
                        ended = false;
                if (!object_deleting(intent))
                        turn_delete(op->turn, intent);
        }
        return ended;
}

void migration_intents_drop(struct op *op)
{
        struct api_instance_spec spec;

        assert(op && op->machine);
        (void)migration_intents_retire(op);
        if (op->domain && op->domain->spec->outgoing) {
                spec = *op->domain->spec;
                spec.outgoing = NULL;
                turn_update_spec(op->turn, op->instance, &spec);
        }
}
