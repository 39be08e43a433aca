/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/test_support.h"

#include "base/limits.h"
#include "generated/api_types.h"
#include "schema/cpu_topology.h"

/* Kinds as users write them: a right object of each kind, changed by a merge patch, and what is said about it. */

#define MACHINE                                                                                                                    \
        "{apiVersion: gabbro.dev/v1, kind: VirtualMachine, metadata: {name: linux-vm, namespace: default}, spec: {"                \
        "virtualMachineClassName: host, cpu: {cores: 1, coreFraction: 10%}, memory: {size: 1Gi}, "                                 \
        "blockDeviceRefs: [{kind: VirtualDisk, name: linux-vm-root}]}}"
#define CLASS "{apiVersion: gabbro.dev/v1, kind: VirtualMachineClass, metadata: {name: host}, spec: {cpu: {type: Host}}}"
#define DISK                                                                                                                       \
        "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {name: root}, spec: {dataSource: {type: ObjectRef, "             \
        "objectRef: {kind: VirtualImage, name: tiny}}, persistentVolumeClaim: {size: 2Gi}}}"
#define IMAGE                                                                                                                      \
        "{apiVersion: gabbro.dev/v1, kind: VirtualImage, metadata: {name: tiny}, spec: {dataSource: {type: HTTP, "                 \
        "http: {url: 'https://example.com/a.qcow2'}}}}"
#define CLUSTER_IMAGE                                                                                                              \
        "{apiVersion: gabbro.dev/v1, kind: ClusterVirtualImage, metadata: {name: tiny}, spec: {dataSource: {type: Upload}}}"
#define OPERATION                                                                                                                  \
        "{apiVersion: gabbro.dev/v1, kind: VirtualMachineOperation, metadata: {name: op}, spec: {type: Restart, "                  \
        "virtualMachineName: linux-vm}}"
#define NETWORK                                                                                                                    \
        "{apiVersion: gabbro.dev/v1, kind: Network, metadata: {name: main}, spec: {cidr: 10.66.10.0/24, gateway: 10.66.10.1}}"
#define POOL "{apiVersion: gabbro.dev/v1, kind: StoragePool, metadata: {name: local}, spec: {path: /var/lib/gabbro/pool}}"
#define ADDRESS                                                                                                                    \
        "{apiVersion: gabbro.dev/v1, kind: VirtualMachineIPAddress, metadata: {name: a}, spec: {type: Static, "                    \
        "staticIP: 10.66.20.77}, status: {address: 10.66.20.77}}"
#define GROUP                                                                                                                      \
        "{apiVersion: gabbro.dev/v1, kind: SecurityGroup, metadata: {name: default}, spec: {rules: [{direction: Ingress, "         \
        "protocol: TCP, ports: [{from: 22, to: 22}]}]}}"
#define SECRET "{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {userData: I2Nsb3VkLWNvbmZpZw==}}"
#define CONFIG "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: b}}"

struct rule_case {
        const struct schema_kind *kind;
        const char *base;
        const char *patch;  /* what is written */
        const char *expect; /* every fault; "": accepted */
        bool update;        /* over @base with @old */
        const char *old;
};

static const struct rule_case cases[] = {
        {&api_virtual_machine_kind, MACHINE, NULL, ""},
        /* issue: cores 17, memory 0, two disks of one name; all faults at once */
        {&api_virtual_machine_kind, MACHINE,
         "{spec: {cpu: {cores: 17}, memory: {size: '0'}, blockDeviceRefs: [{kind: VirtualDisk, name: a}, {kind: VirtualDisk, name: "
         "a}]}}",
         "spec.blockDeviceRefs[1]: Duplicate value: kind \"VirtualDisk\", name \"a\": element 0 of the list is the same\n"
         "spec.cpu.cores: Invalid value: 17: 17 cores cannot be spread evenly over 2 sockets, at least 9 in each; the nearest "
         "allowed numbers "
         "are 16 and 18\n"
         "spec.memory.size: Invalid value: \"0\": must be greater than 0"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {cpu: {cores: 4, maxCores: 33}}}",
         "spec.cpu.maxCores: Invalid value: 33: 33 cores cannot be spread evenly over 4 sockets, at least 9 in each; the nearest "
         "allowed numbers are 32 and 36"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {cpu: {cores: 4, maxCores: 2}}}",
         "spec.cpu.maxCores: Invalid value: 2: must not be less than spec.cpu.cores, 4"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {cpu: {cores: 300}}}",
         "spec.cpu.cores: Invalid value: 300: must be less than or equal to 248"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {cpu: {cores: 0}}}",
         "spec.cpu.cores: Invalid value: 0: must be greater than or equal to 1"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {cpu: {cores: two}}}",
         "spec.cpu.cores: Invalid value: \"two\": must be a whole number, not a string"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {cpu: {cores: 1.5}}}",
         "spec.cpu.cores: Invalid value: 1.5: must be a whole number"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {cpu: {coreFraction: 0%}}}",
         "spec.cpu.coreFraction: Invalid value: \"0%\": must be a whole percentage from 1% to 100%"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {cpu: {coreFraction: null}}}", ""},
        {&api_virtual_machine_kind, MACHINE, "{spec: {memory: {size: 2}}}",
         "spec.memory.size: Invalid value: 2: must be at least 1Mi; is the suffix missing, as in 2Gi?"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {memory: {size: much}}}",
         "spec.memory.size: Invalid value: \"much\": must be a quantity that is not negative, for example 512Mi, 2Gi or 1500m"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {blockDeviceRefs: []}}",
         "spec.blockDeviceRefs: Required value: at least 1 must be there"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {blockDeviceRefs: [{kind: Floppy, name: a}]}}",
         "spec.blockDeviceRefs[0].kind: Unsupported value: \"Floppy\": supported values: \"VirtualDisk\", \"VirtualImage\", "
         "\"ClusterVirtualImage\""},
        {&api_virtual_machine_kind, MACHINE,
         "{spec: {blockDeviceRefs: [{kind: VirtualDisk, name: a}, {kind: VirtualImage, name: a}]}}", ""},
        {&api_virtual_machine_kind, MACHINE, "{spec: {virtualMachineClassName: null, cpus: 3}}",
         "spec.cpus: Unknown field: did you mean cpu?\nspec.virtualMachineClassName: Required value: no class is "
         "the default of the project or of all"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {cpu: null, memory: null}}",
         "spec.cpu.cores: Required value: its class has no default for it\n"
         "spec.memory.size: Required value: its class has no default for it"},
        /* vm-api 2.6 */
        {&api_virtual_machine_kind, MACHINE, "{metadata: {labels: {a.virtualization.deckhouse.io/b: c}}}",
         "metadata.labels: Forbidden: \"a.virtualization.deckhouse.io/b\": keys with virtualization.deckhouse.io in them are set "
         "by "
         "the system alone"},
        {&api_virtual_machine_kind, MACHINE, "{metadata: {labels: {a.virtualization.deckhouse.io/b: c}}}", "", true,
         "{metadata: {labels: {a.virtualization.deckhouse.io/b: d}}}"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {cpu: {coreFraction: 10}}}",
         "spec.cpu.coreFraction: Invalid value: 10: must be a string"},
        {&api_virtual_machine_kind, MACHINE, "{metadata: {lables: {a: b}}}",
         "metadata.lables: Unknown field: did you mean labels?"},
        {&api_virtual_machine_kind, MACHINE, "{metadata: {name: Linux_VM, labels: {'a b': c, d: 'e f'}}}",
         "metadata.name: Invalid value: \"Linux_VM\": must be at most 253 lower-case letters, digits, '-' and '.', with a letter "
         "or digit at both "
         "ends of each part\n"
         "metadata.labels: Invalid value: \"a b\": a key is at most 63 letters, digits, '-', '_' and '.', with a letter or digit "
         "at both ends, "
         "and may have a prefix such as example.com/\n"
         "metadata.labels: Invalid value: \"e f\": the value of d must be empty, or at most 63 letters, digits, '-', '_' and '.', "
         "with a letter "
         "or digit at both ends"},
        {&api_virtual_machine_kind, MACHINE,
         "{metadata: {name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}}",
         "metadata.name: Too long: a VirtualMachine's name has at most 63 characters"},
        {&api_virtual_machine_kind, MACHINE, "{metadata: {name: null}}",
         "metadata.name: Required value: name or generateName is required"},
        {&api_virtual_machine_kind, MACHINE, "{metadata: {name: null, generateName: vm-}}", ""},
        {&api_virtual_machine_kind, MACHINE, "{spec: {provisioning: {type: UserDataRef}}}",
         "spec.provisioning.userDataRef: Required value: type is UserDataRef"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {provisioning: {type: UserDataRef, userDataRef: {name: s}, userData: x}}}",
         "spec.provisioning.userData: Forbidden: may be there only when type is UserData, not UserDataRef"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {provisioning: {type: SysprepRef, sysprepRef: {kind: Secret, name: s}}}}", ""},
        {&api_virtual_machine_kind, MACHINE,
         "{spec: {osType: Legacy, bootloader: EFI, provisioning: {type: UserData, userData: x}}}",
         "spec.bootloader: Invalid value: \"EFI\": must be BIOS when osType is Legacy\n"
         "spec.provisioning: Forbidden: a Legacy system does not read it"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {osId: win11, osType: Windows}}", ""},
        {&api_virtual_machine_kind, MACHINE, "{spec: {osId: winxp, osType: Generic}}", ""},
        {&api_virtual_machine_kind, MACHINE, "{spec: {osId: debian12, osType: Legacy}}", ""},
        {&api_virtual_machine_kind, MACHINE, "{spec: {osId: debian12, osType: Windows}}",
         "spec.osType: Invalid value: \"Windows\": must be Generic for debian12"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {osId: win11, osType: Generic}}",
         "spec.osType: Invalid value: \"Generic\": must be Windows for win11"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {osId: win-2k19}}",
         "spec.osId: Invalid value: \"win-2k19\": no system of this name is known; the nearest are win2k19, win2k12, win2k16"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {osId: qqqqqqqqqqqqqqqqqqqq}}",
         "spec.osId: Invalid value: \"qqqqqqqqqqqqqqqqqqqq\": no system of this name is known"},
        {&api_virtual_machine_kind, MACHINE,
         "{spec: {blockDeviceRefs: [{kind: VirtualDisk, name: a, bootOrder: 2}, {kind: VirtualDisk, name: b}, "
         "{kind: VirtualDisk, name: c, bootOrder: 2}]}}",
         "spec.blockDeviceRefs[2].bootOrder: Duplicate value: 2: two devices have the same place in the boot order"},
        {&api_virtual_machine_kind, MACHINE,
         "{spec: {blockDeviceRefs: [{kind: VirtualDisk, name: a, bootOrder: 2}, {kind: VirtualDisk, name: b, bootOrder: 1}]}}", ""},
        {&api_virtual_machine_kind, MACHINE,
         "{spec: {networks: [{type: ClusterNetwork}, {type: Main, name: x}, {type: ClusterNetwork, name: b, id: 3}, {type: "
         "Network, name: c, id: 3}]}}",
         "spec.networks[0].name: Required value: a network other than Main is chosen by its name\n"
         "spec.networks[1].name: Forbidden: the network of type Main has no name\n"
         "spec.networks[1]: Forbidden: the network of type Main can only be the first\n"
         "spec.networks[3].id: Duplicate value: 3: two interfaces have the same number"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {nodeSelector: {disktype: ssd}, tolerations: [{operator: Exists}]}}", ""},
        {&api_virtual_machine_kind, MACHINE, "{spec: {nodeSelector: {'a b': c}, tolerations: [{key: ''}]}}",
         "spec.nodeSelector.a b: Invalid value: \"c\": the key is not that of a label\n"
         "spec.tolerations[0]: Invalid value: {\"key\":\"\"}: operator must be Exists when key is empty, which tolerates every "
         "taint"},
        {&api_virtual_machine_kind, MACHINE,
         "{spec: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: "
         "[{matchExpressions: "
         "[{key: disktype, operator: In, values: [ssd]}]}]}}, virtualMachineAndPodAffinity: "
         "{preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, virtualMachineAndPodAffinityTerm: {labelSelector: "
         "{matchLabels: "
         "{server: database}}, topologyKey: kubernetes.io/hostname}}]}}}}",
         ""},
        {&api_virtual_machine_kind, MACHINE,
         "{spec: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: "
         "[{matchExpressions: "
         "[{key: disktype, operator: In}]}]}}, virtualMachineAndPodAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
         "[{labelSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}]}}}}",
         "spec.affinity.virtualMachineAndPodAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required "
         "value\n"
         "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0]."
         "values: Required "
         "value: In and NotIn compare with at least one value\n"
         "spec.affinity.virtualMachineAndPodAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector."
         "matchExpressions[0]."
         "values: Forbidden: Exists and DoesNotExist compare with no value"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {topologySpreadConstraints: {a: b}}}",
         "spec.topologySpreadConstraints: Invalid value: {\"a\":\"b\"}: must be a list"},
        {&api_virtual_machine_kind, MACHINE, "{spec: {runPolicy: Sometimes, terminationGracePeriodSeconds: -1}}",
         "spec.runPolicy: Unsupported value: \"Sometimes\": supported values: \"AlwaysOn\", \"AlwaysOff\", \"Manual\", "
         "\"AlwaysOnUnlessStoppedManually\"\n"
         "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0"},

        {&api_virtual_machine_class_kind, CLASS, NULL, ""},
        {&api_virtual_machine_class_kind, CLASS, "{spec: {cpu: {type: Model}}}", "spec.cpu.model: Required value: type is Model"},
        {&api_virtual_machine_class_kind, CLASS, "{spec: {cpu: {model: Nehalem}}}",
         "spec.cpu.model: Forbidden: may be there only when type is Model, not Host"},
        {&api_virtual_machine_class_kind, CLASS, "{spec: {cpu: {type: Model, model: Nehalem}}}",
         "spec.cpu: Invalid value: {\"type\":\"Model\",\"model\":\"Nehalem\"}: field is immutable: guests have seen the processor; "
         "make another "
         "class",
         true, NULL},
        {&api_virtual_machine_class_kind, CLASS,
         "{spec: {sizingPolicies: [{cores: {min: 1, max: 4}, memory: {min: 1Gi, max: 8Gi}, coreFractions: [5, 10, 20, 50, 100]}, "
         "{cores: {min: 5, max: 8}, memory: {min: 5Gi, max: 16Gi}, coreFractions: [20%, 50%, 100%], defaultCoreFraction: 20}]}}",
         ""},
        {&api_virtual_machine_class_kind, CLASS,
         "{spec: {sizingPolicies: [{cores: {min: 1, max: 4}}, {cores: {min: 4, max: 3}, memory: {min: 2Gi, max: 1Gi}, "
         "coreFractions: [0, 200%], "
         "defaultCoreFraction: 7}]}}",
         "spec.sizingPolicies[1].cores: Invalid value: {\"min\":4,\"max\":3}: max must not be less than min\n"
         "spec.sizingPolicies[1].memory: Invalid value: {\"min\":\"2Gi\",\"max\":\"1Gi\"}: max must not be less than min\n"
         "spec.sizingPolicies[1].coreFractions[0]: Invalid value: 0: must be a share from 1 to 100, or from \"1%\" to \"100%\"\n"
         "spec.sizingPolicies[1].coreFractions[1]: Invalid value: \"200%\": must be a share from 1 to 100, or from \"1%\" to "
         "\"100%\"\n"
         "spec.sizingPolicies[1].defaultCoreFraction: Invalid value: 7: must be one of the policy's coreFractions"},
        {&api_virtual_machine_class_kind, CLASS, "{spec: {sizingPolicies: [{cores: {min: 1, max: 4}}, {cores: {min: 4, max: 8}}]}}",
         "spec.sizingPolicies[1].cores: Invalid value: {\"min\":4,\"max\":8}: overlaps with the range 1 to 4 of policy 0"},
        {&api_virtual_machine_class_kind, CLASS,
         "{metadata: {annotations: {virtualmachineclass.virtualization.deckhouse.io/is-default-class: 'no'}}}",
         "metadata.annotations: Invalid value: \"no\": virtualmachineclass.virtualization.deckhouse.io/is-default-class can only "
         "be \"true\"; "
         "remove it otherwise"},

        {&api_virtual_disk_kind, DISK, NULL, ""},
        {&api_virtual_disk_kind, DISK, "{metadata: {name: a.b}}", "metadata.name: Invalid value: \"a.b\": must not contain a dot"},
        {&api_virtual_disk_kind, DISK, "{metadata: {name: a.b}}", "", true, "{metadata: {name: a.b}}"},
        {&api_virtual_disk_kind, DISK, "{metadata: {name: d}, spec: {dataSource: {objectRef: {kind: VirtualDisk, name: d}}}}",
         "spec.dataSource.objectRef.name: Invalid value: \"d\": a disk cannot be its own source"},
        {&api_virtual_disk_kind, DISK, "{spec: {dataSource: null, persistentVolumeClaim: null}}",
         "spec.persistentVolumeClaim.size: Required value: an empty disk has no source to take its size from"},
        {&api_virtual_disk_kind, DISK, "{spec: {persistentVolumeClaim: {size: 0}}}",
         "spec.persistentVolumeClaim.size: Invalid value: 0: must be greater than 0"},
        {&api_virtual_disk_kind, DISK, "{spec: {persistentVolumeClaim: {size: 5Ti}}}",
         "spec.persistentVolumeClaim.size: Invalid value: \"5Ti\": must be at most 4Ti"},
        {&api_virtual_disk_kind, DISK, "{spec: {persistentVolumeClaim: {size: 1Gi}}}",
         "spec.persistentVolumeClaim.size: Invalid value: \"1Gi\": a disk can grow, never shrink; it has 2Gi", true, NULL},
        {&api_virtual_disk_kind, DISK, "{spec: {persistentVolumeClaim: {size: 3Gi}}}", "", true, NULL},
        {&api_virtual_disk_kind, DISK, "{spec: {persistentVolumeClaim: {size: 1Gi}}}",
         "spec.persistentVolumeClaim.size: Invalid value: \"1Gi\": a disk can grow, never shrink; it has 3Gi of its source", true,
         "{spec: {persistentVolumeClaim: null}, status: {capacity: 3Gi}}"},
        {&api_virtual_disk_kind, DISK, "{spec: {persistentVolumeClaim: null}}",
         "spec.persistentVolumeClaim.size: Required value: it was set and cannot be taken away", true, NULL},
        {&api_virtual_disk_kind, DISK,
         "{spec: {limits: {readBytesPerSecond: 64Ki, writeBytesPerSecond: 1Ti, totalOperationsPerSecond: 10}}}", ""},
        {&api_virtual_disk_kind, DISK, "{spec: {limits: {totalBytesPerSecond: 1M, readOperationsPerSecond: 10}}}", "", true, NULL},
        {&api_virtual_disk_kind, DISK, "{spec: {limits: {readBytesPerSecond: 65535, writeBytesPerSecond: 1025Gi}}}",
         "spec.limits.readBytesPerSecond: Invalid value: 65535: must be 64Ki to 1Ti\n"
         "spec.limits.writeBytesPerSecond: Invalid value: \"1025Gi\": must be 64Ki to 1Ti"},
        {&api_virtual_disk_kind, DISK, "{spec: {limits: {totalBytesPerSecond: 0}}}",
         "spec.limits.totalBytesPerSecond: Invalid value: 0: must be 64Ki to 1Ti"},
        {&api_virtual_disk_kind, DISK,
         "{spec: {limits: {totalBytesPerSecond: 1Mi, readBytesPerSecond: 1Mi, totalOperationsPerSecond: 50, "
         "writeOperationsPerSecond: 50}}}",
         "spec.limits.readBytesPerSecond: Forbidden: reads and writes are limited together already\n"
         "spec.limits.writeOperationsPerSecond: Forbidden: reads and writes are limited together already"},
        {&api_virtual_disk_kind, DISK, "{spec: {dataSource: {objectRef: {name: other}}}}",
         "spec.dataSource: Invalid value: {\"type\":\"ObjectRef\",\"objectRef\":{\"kind\":\"VirtualImage\",\"name\":\"other\"}}: "
         "field is "
         "immutable: the content is made once; delete it and create another",
         true, NULL},
        {&api_virtual_disk_kind, DISK,
         "{spec: {dataSource: {type: ContainerImage, objectRef: null, containerImage: {image: a/b}}}}",
         "spec.dataSource.type: Unsupported value: \"ContainerImage\": container images are no source here; use HTTP, Upload or "
         "ObjectRef"},

        {&api_virtual_image_kind, IMAGE, NULL, ""},
        {&api_virtual_image_kind, IMAGE, "{spec: {dataSource: {http: {url: 'ftp://x/y'}}}}",
         "spec.dataSource.http.url: Invalid value: \"ftp://x/y\": must be an http or https URL with a host and without a password"},
        {&api_virtual_image_kind, IMAGE, "{spec: {dataSource: {http: {url: 'https://u:hunter2@x/y'}}}}",
         "spec.dataSource.http.url: Invalid value: (hidden): must be an http or https URL with a host and without a password"},
        {&api_virtual_image_kind, IMAGE, "{spec: {dataSource: {http: {checksum: {sha256: 12}}}}}",
         "spec.dataSource.http.checksum.sha256: Invalid value: 12: must be a string"},
        {&api_virtual_image_kind, IMAGE, "{spec: {dataSource: {http: {checksum: {sha256: 'ab', md5: '1'}}}}}",
         "spec.dataSource.http.checksum.md5: Invalid value: \"1\": must have at least 32 characters\n"
         "spec.dataSource.http.checksum.sha256: Invalid value: \"ab\": must be 64 hexadecimal digits"},
        {&api_cluster_virtual_image_kind, CLUSTER_IMAGE, NULL, ""},
        {&api_cluster_virtual_image_kind, CLUSTER_IMAGE,
         "{spec: {dataSource: {type: ObjectRef, objectRef: {kind: VirtualImage, name: a}}}}",
         "spec.dataSource.objectRef.namespace: Required value: the source lives in a project"},

        {&api_virtual_machine_operation_kind, OPERATION, NULL, ""},
        {&api_virtual_machine_operation_kind, OPERATION, "{spec: {type: Start, force: true}}",
         "spec.force: Invalid value: true: a start cannot be forced"},
        {&api_virtual_machine_operation_kind, OPERATION, "{spec: {clone: {name: b}}}",
         "spec.clone: Forbidden: it is for type Clone"},
        {&api_virtual_machine_operation_kind, OPERATION, "{spec: {identity: New}}",
         "spec.identity: Forbidden: it is for type Redeploy"},
        {&api_virtual_machine_operation_kind, OPERATION, "{spec: {type: Redeploy, identity: New}}", ""},
        {&api_virtual_machine_operation_kind, OPERATION, "{spec: {type: Clone}}",
         "spec.clone: Required value: what is cloned needs another name"},
        {&api_virtual_machine_operation_kind, OPERATION, "{spec: {type: Clone, clone: {mode: DryRun}}}",
         "spec.clone.name: Required value: nothing gives the new machine another name"},
        {&api_virtual_machine_operation_kind, OPERATION, "{spec: {type: Clone, clone: {name: linux-vm}}}",
         "spec.clone.name: Invalid value: \"linux-vm\": the new machine needs another name than its source"},
        {&api_virtual_machine_operation_kind, OPERATION, "{spec: {type: Clone, clone: {name: A.b}}}",
         "spec.clone.name: Invalid value: \"A.b\": a name has up to 63 of a-z, 0-9 and '-'"},
        {&api_virtual_machine_operation_kind, OPERATION, "{spec: {type: Clone, clone: {customization: {nameSuffix: -b}}}}", ""},
        {&api_virtual_machine_operation_kind, OPERATION,
         "{spec: {type: Clone, clone: {nameReplacement: [{from: {name: linux-vm}, to: b}]}}}", ""},
        {&api_virtual_machine_operation_kind, OPERATION, "{spec: {type: Suspend, force: true}}",
         "spec.force: Invalid value: true: only Stop and Restart can be forced"},
        {&api_virtual_machine_operation_kind, OPERATION, "{spec: {type: Stop, force: true}}",
         "spec.type: Invalid value: \"Stop\": field is immutable\n"
         "spec.force: Invalid value: true: field is immutable: an operation is done once; create another",
         true, NULL},

        {&api_virtual_machine_operation_kind, OPERATION,
         "{spec: {type: Migrate, migrate: {nodeName: b, cold: true, bandwidthMibPerSecond: 50, downtimeMs: 900}}}",
         "spec.migrate.nodeName: Invalid value: \"b\": field is immutable\nspec.migrate.cold: Invalid value: true: field is "
         "immutable: it is under way; create another",
         true, "{spec: {type: Migrate, migrate: {nodeName: a, bandwidthMibPerSecond: 5}}}"},

        {&api_network_kind, NETWORK, NULL, ""},
        {&api_network_kind, NETWORK, "{spec: {gateway: 10.66.10.255, rangeStart: 10.66.11.1, rangeEnd: 10.66.10.0}}",
         "spec.gateway: Invalid value: \"10.66.10.255\": is the first or the last address of the range, which no host can have\n"
         "spec.rangeStart: Invalid value: \"10.66.11.1\": is not in the range of the network\n"
         "spec.rangeEnd: Invalid value: \"10.66.10.0\": is the first or the last address of the range, which no host can have"},
        {&api_network_kind, NETWORK, "{spec: {rangeStart: 10.66.10.20, rangeEnd: 10.66.10.10}}",
         "spec.rangeEnd: Invalid value: \"10.66.10.10\": must not be below rangeStart"},
        {&api_network_kind, NETWORK, "{spec: {cidr: 10.66.10.0/31, gateway: null}}",
         "spec.cidr: Invalid value: \"10.66.10.0/31\": must be from /8 to /30"},
        {&api_network_kind, NETWORK, "{spec: {cidr: 10.66.10.1/24}}",
         "spec.cidr: Invalid value: \"10.66.10.1/24\": must be an address range whose host bits are zero, for example "
         "10.66.10.0/24"},
        {&api_network_kind, NETWORK, "{spec: {cidr: 'fd00::/64', gateway: null}}",
         "spec.cidr: Invalid value: \"fd00::/64\": must be of IPv4"},
        {&api_network_kind, NETWORK, "{spec: {cidr: 10.1.0.0/16, gateway: 10.1.0.1}}",
         "spec.cidr: Invalid value: \"10.1.0.0/16\": field is immutable\nspec.gateway: Invalid value: \"10.1.0.1\": field is "
         "immutable",
         true, NULL},

        {&api_storage_pool_kind, POOL, NULL, ""},
        {&api_storage_pool_kind, POOL, "{spec: {path: /}}",
         "spec.path: Invalid value: \"/\": must be an absolute path without '.', '..' and empty parts\n"
         "spec.path: Invalid value: \"/\": the folder belongs to the system; choose one of its own, for example "
         "/var/lib/gabbro/pool"},
        {&api_storage_pool_kind, POOL, "{spec: {path: /etc/gabbro}}",
         "spec.path: Invalid value: \"/etc/gabbro\": the folder belongs to the system; choose one of its own, for example "
         "/var/lib/gabbro/pool"},
        {&api_storage_pool_kind, POOL, "{spec: {path: /srv/../etc}}",
         "spec.path: Invalid value: \"/srv/../etc\": must be an absolute path without '.', '..' and empty parts"},
        {&api_storage_pool_kind, POOL, "{spec: {path: /etcetera, nodes: [a], nodeSelector: {b: c}}}",
         "spec.nodeSelector: Forbidden: nodes are chosen by name or by labels, not by both"},
        {&api_storage_pool_kind, POOL, "{spec: {path: null}}", "spec.path: Required value: a Directory is a folder of its nodes"},
        {&api_storage_pool_kind, POOL, "{spec: {type: RBD, path: null}}",
         "spec.type: Forbidden: RBD: Pools of this type cannot be made yet. Use a pool of type Directory; the manual's page of the "
         "capability matrix has what is known of the type."},

        {&api_virtual_machine_ip_address_kind, ADDRESS, NULL, ""},
        {&api_virtual_machine_ip_address_kind, ADDRESS, "{spec: {staticIP: null}}",
         "spec.staticIP: Required value: type Static names the address that is wanted"},
        {&api_virtual_machine_ip_address_kind, ADDRESS, "{spec: {type: null}}",
         "spec.staticIP: Forbidden: type Auto takes any free address"},
        {&api_virtual_machine_ip_address_kind, ADDRESS, "{spec: null}", ""},
        {&api_virtual_machine_ip_address_kind, ADDRESS, "{spec: {type: Auto, staticIP: ''}}", ""},
        {&api_virtual_machine_ip_address_kind, ADDRESS, "{spec: {staticIP: 10.66.20}}",
         "spec.staticIP: Invalid value: \"10.66.20\": must be an IP address, for example 10.66.10.14"},
        {&api_virtual_machine_ip_address_kind, ADDRESS, NULL, "", true, "{spec: {type: Auto, staticIP: null}}"},
        {&api_virtual_machine_ip_address_kind, ADDRESS, "{spec: {staticIP: 10.66.20.78}}",
         "spec.staticIP: Invalid value: \"10.66.20.78\": the bound address is 10.66.20.77 and cannot change", true, NULL},

        {&api_security_group_kind, GROUP, NULL, ""},
        {&api_security_group_kind, GROUP,
         "{spec: {rules: [{direction: Egress, ports: [{from: 9, to: 8}], peers: [10.0.0.0/8, 10.0.0.0/8]}]}}",
         "spec.rules[0].peers[1]: Duplicate value: \"10.0.0.0/8\": element 0 of the list is the same\n"
         "spec.rules[0].ports: Forbidden: only TCP and UDP have ports\n"
         "spec.rules[0].ports[0]: Invalid value: {\"from\":9,\"to\":8}: to must not be less than from"},

        {&api_secret_kind, SECRET, NULL, ""},
        {&api_secret_kind, SECRET, "{data: {userData: 'not base64!'}}", "data.userData: Invalid value: (hidden): must be base64"},
        {&api_secret_kind, SECRET, "{data: {'a/b': aGk=}}",
         "data: Invalid value: \"a/b\": a key is at most 253 letters, digits, '-', '_' and '.'"},
        {&api_secret_kind, SECRET, "{data: {userData: aGk=}, immutable: null}",
         "immutable: Forbidden: it cannot be taken back\ndata: Forbidden: field is immutable when `immutable` is set", true,
         "{immutable: true}"},
        {&api_secret_kind, SECRET, "{data: {userData: 7}}", "data.userData: Invalid value: (hidden): must be a string"},
        {&api_config_map_kind, CONFIG, NULL, ""},
        {&api_config_map_kind, CONFIG, "{binaryData: {a: aGk=}}", "binaryData: Duplicate value: \"a\": data has the same key"},
};

static void every_rule_tells_its_faults_with_their_places(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *text = test_judge(cases[i].kind, cases[i].base, cases[i].patch, cases[i].old, cases[i].update);

                if (strcmp(text, cases[i].expect) == 0)
                        continue;
                g_test_message("case %zu: %s\ngot:\n%s\nexpected:\n%s", i, cases[i].patch ?: "(base)", text, cases[i].expect);
                g_test_fail();
        }
}

static void bad_steps_of_cores_are_refused_with_a_clear_message_D43(void)
{
        for (int cores = 1; cores <= LIMIT_CPU_CORES; cores++) {
                g_autofree char *patch = g_strdup_printf("{spec: {cpu: {cores: %d}}}", cores);
                g_autofree char *text = test_judge(&api_virtual_machine_kind, MACHINE, patch, NULL, false);
                int sockets, per_socket, below, above;
                g_autofree char *words = NULL;

                if (schema_cpu_topology(cores, &sockets, &per_socket)) {
                        g_assert_cmpstr(text, ==, "");
                        continue;
                }
                schema_cpu_nearest(cores, &below, &above);
                words = g_strdup_printf("the nearest allowed numbers are %d and %d", below, above);
                g_assert_nonnull(strstr(text, words));
        }
}

static char *judge_user_data(size_t bytes, const char *unit)
{
        g_autoptr(GString) patch = g_string_new("{spec: {provisioning: {type: UserData, userData: '");

        for (size_t i = 0; i < bytes; i += strlen(unit))
                g_string_append(patch, unit);
        g_string_append(patch, "'}}}");
        return test_judge(&api_virtual_machine_kind, MACHINE, patch->str, NULL, false);
}

static void inline_user_data_has_at_most_2048_bytes_D82(void)
{
        static const char refused[] =
                "spec.provisioning.userData: Too long: 2050 bytes: at most 2048 bytes may stand in the machine; put the text "
                "into a Secret and use type UserDataRef";
        g_autofree char *most = judge_user_data(2048, "ab"), *more = judge_user_data(2050, "ab"),
                        *umlauts = judge_user_data(2050, "ä");

        g_assert_cmpstr(most, ==, "");
        g_assert_cmpstr(more, ==, refused);
        g_assert_cmpstr(umlauts, ==, refused); /* bytes, not characters */
}

static void duplicates_are_found_in_long_lists(void)
{
        g_autoptr(GString) patch = g_string_new("{metadata: {finalizers: [");
        g_autofree char *text = NULL;

        for (int i = 0; i < 40; i++)
                g_string_append_printf(patch, "%sa.b/c%d", i > 0 ? ", " : "", i % 39);
        g_string_append(patch, "]}}");
        text = test_judge(&api_config_map_kind, CONFIG, patch->str, NULL, false);
        g_assert_cmpstr(text, ==, "metadata.finalizers[39]: Duplicate value: \"a.b/c0\": element 0 of the list is the same");
}

static void annotations_have_a_total_size(void)
{
        g_autofree char *value = g_strnfill(LIMIT_LABELS_BYTES, 'x');
        g_autofree char *patch = g_strdup_printf("{\"metadata\": {\"annotations\": {\"a\": \"%s\"}}}", value);
        g_autofree char *text = test_judge(&api_config_map_kind, CONFIG, patch, NULL, false);

        g_assert_cmpstr(text, ==, "metadata.annotations: Too long: all annotations together have 262145 bytes, 262144 at most");
}

static void text_of_a_secret_moves_into_its_data(void)
{
        g_autoptr(json_doc) doc = test_patched(SECRET, "{stringData: {userData: hi, more: ''}}");

        schema_default(&api_secret_kind, doc, json_root(doc));
        g_assert_null(json_get(json_root(doc), "stringData"));
        g_assert_cmpstr(json_find_string(json_root(doc), "data", "userData", NULL), ==, "aGk=");
        g_assert_cmpstr(json_find_string(json_root(doc), "data", "more", NULL), ==, "");
        g_assert_cmpstr(json_find_string(json_root(doc), "type", NULL), ==, "Opaque");
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/schema/rules/every_rule_tells_its_faults_with_their_places",
                        every_rule_tells_its_faults_with_their_places);
        g_test_add_func("/schema/rules/bad_steps_of_cores_are_refused_with_a_clear_message_D43",
                        bad_steps_of_cores_are_refused_with_a_clear_message_D43);
        g_test_add_func("/schema/rules/inline_user_data_has_at_most_2048_bytes_D82", inline_user_data_has_at_most_2048_bytes_D82);
        g_test_add_func("/schema/rules/duplicates_are_found_in_long_lists", duplicates_are_found_in_long_lists);
        g_test_add_func("/schema/rules/annotations_have_a_total_size", annotations_have_a_total_size);
        g_test_add_func("/schema/rules/text_of_a_secret_moves_into_its_data", text_of_a_secret_moves_into_its_data);
        return g_test_run();
}
