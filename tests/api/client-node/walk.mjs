// SPDX-License-Identifier: Apache-2.0
// The API walked with Kubernetes' own client for Node, unmodified. usage: walk.mjs KUBECONFIG
// Every test prints one line of JSON. A line that asks for something ({"ask": "restart"}) waits for a line on standard input.
import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import * as k8s from '@kubernetes/client-node';

const kc = new k8s.KubeConfig();
kc.loadFromFile(process.argv[2]);
const core = kc.makeApiClient(k8s.CoreV1Api);
const custom = kc.makeApiClient(k8s.CustomObjectsApi);
const objects = k8s.KubernetesObjectApi.makeApiClient(kc);
const GROUP = { group: 'gabbro.dev', version: 'v1', plural: 'virtualmachines' };
const { MergePatch, JsonPatch, StrategicMergePatch } = k8s.PatchStrategy;

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function ask(what) {
    console.log(JSON.stringify({ ask: what }));
    return (await answers.next()).value;
}

function machine(name, more = {}) {
    return {
        apiVersion: 'gabbro.dev/v1', kind: 'VirtualMachine', metadata: { name, labels: { app: 'web' }, ...more },
        spec: {
            virtualMachineClassName: 'nowhere', runPolicy: 'AlwaysOff', cpu: { cores: 2 }, memory: { size: '1Gi' },
            blockDeviceRefs: [{ kind: 'VirtualDisk', name: 'disk' }],
        },
    };
}

function map(name, data = { k: 'v' }, more = {}) {
    return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, ...more }, data };
}

const header = (type) => k8s.setHeaderOptions('Content-Type', type);

// What a refused call says: the HTTP code and the Status.
async function refused(promise) {
    try {
        await promise;
    } catch (error) {
        return { code: error.code, status: typeof error.body === 'string' ? JSON.parse(error.body) : error.body };
    }
    assert.fail('it should have been refused');
}

// Things that come one by one, awaited in their order.
class Inbox {
    constructor() {
        this.items = [];
        this.waiting = null;
    }
    put(item) {
        this.items.push(item);
        this.waiting?.();
    }
    async next(what = () => true, ms = 20000) {
        const end = Date.now() + ms;
        for (;;) {
            const at = this.items.findIndex(what);
            if (at >= 0) {
                return this.items.splice(0, at + 1).at(-1);
            }
            let timer;
            await new Promise((resolve, reject) => {
                this.waiting = resolve;
                timer = setTimeout(() => reject(new Error(`it did not come; there was ${JSON.stringify(this.items)}`)), end - Date.now());
            }).finally(() => clearTimeout(timer));
        }
    }
}

async function watching(path, query = {}) {
    const inbox = new Inbox();
    const controller = await new k8s.Watch(kc).watch(path, query, (type, object) => inbox.put({ type, object }),
        (error) => inbox.put({ type: 'END', error }));
    inbox.abort = () => controller.abort();
    return inbox;
}

function informing(namespace, list, labelSelector) {
    const inbox = new Inbox();
    const informer = k8s.makeInformer(kc, `/api/v1/namespaces/${namespace}/configmaps`, list, labelSelector);
    for (const verb of ['add', 'update', 'delete']) {
        informer.on(verb, (object) => inbox.put({ verb, name: object.metadata.name, object }));
    }
    informer.on('connect', () => inbox.put({ verb: 'connect' }));
    informer.on('error', (error) => {
        inbox.put({ verb: 'error', error });
        setTimeout(() => informer.start(), 200); // as its documentation tells to do
    });
    return { informer, inbox };
}

const tests = {
    async discovery_and_version() {
        assert.equal((await kc.makeApiClient(k8s.VersionApi).getCode()).major, '1');
        const groups = (await kc.makeApiClient(k8s.ApisApi).getAPIVersions()).groups.map((g) => g.name);
        assert.ok(groups.includes('gabbro.dev'));
        const listed = await custom.getAPIResources({ group: 'gabbro.dev', version: 'v1' });
        assert.ok(listed.resources.some((r) => r.name === 'virtualmachines' && r.namespaced));
    },

    async create_read_replace_delete(namespace) {
        const made = await core.createNamespacedConfigMap({ namespace, body: map('a') });
        assert.ok(made.metadata.uid && made.metadata.creationTimestamp instanceof Date);
        const read = await core.readNamespacedConfigMap({ namespace, name: 'a' });
        assert.deepEqual(read.data, { k: 'v' });
        read.data.k = 'w';
        const replaced = await core.replaceNamespacedConfigMap({ namespace, name: 'a', body: read });
        assert.notEqual(replaced.metadata.resourceVersion, made.metadata.resourceVersion);
        const conflict = await refused(core.replaceNamespacedConfigMap({ namespace, name: 'a', body: made }));
        assert.equal(conflict.code, 409);
        assert.equal(conflict.status.reason, 'Conflict');
        const gone = await core.deleteNamespacedConfigMap({ namespace, name: 'a', propagationPolicy: 'Background' });
        assert.equal(gone.status, 'Success');
        assert.equal((await refused(core.readNamespacedConfigMap({ namespace, name: 'a' }))).code, 404);
    },

    async own_kinds_as_custom_objects(namespace) {
        const at = { ...GROUP, namespace, name: 'm' };
        const made = await custom.createNamespacedCustomObject({ ...GROUP, namespace, body: machine('m') });
        assert.equal(made.spec.memory.size, '1Gi');
        made.spec.cpu.cores = 4;
        const now = await custom.getNamespacedCustomObject(at);
        now.spec.cpu.cores = 4;
        delete now.metadata.resourceVersion;
        assert.equal((await custom.replaceNamespacedCustomObject({ ...at, body: now })).spec.cpu.cores, 4);
        assert.equal((await custom.listNamespacedCustomObject({ ...GROUP, namespace })).items.length, 1);
        assert.equal((await custom.listCustomObjectForAllNamespaces({ ...GROUP, resourcePlural: 'virtualmachines' })).kind, 'VirtualMachineList');
        assert.equal((await custom.getNamespacedCustomObjectStatus(at)).kind, 'VirtualMachine');
        await custom.deleteNamespacedCustomObject(at);
    },

    async lists_by_selector_and_in_pages(namespace) {
        for (let i = 0; i < 5; i++) {
            await core.createNamespacedConfigMap({ namespace, body: map(`c${i}`, {}, { labels: { odd: String(i % 2) } }) });
        }
        const names = async (query) => (await core.listNamespacedConfigMap({ namespace, ...query })).items.map((o) => o.metadata.name);
        assert.deepEqual(await names({ labelSelector: 'odd=1' }), ['c1', 'c3']);
        assert.deepEqual(await names({ labelSelector: 'odd notin (1)' }), ['c0', 'c2', 'c4']);
        assert.deepEqual(await names({ fieldSelector: 'metadata.name=c2' }), ['c2']);
        const seen = [];
        let more;
        do {
            const page = await core.listNamespacedConfigMap({ namespace, limit: 2, _continue: more });
            seen.push(...page.items.map((o) => o.metadata.name));
            more = page.metadata._continue;
        } while (more);
        assert.deepEqual(seen, ['c0', 'c1', 'c2', 'c3', 'c4']);
        const bad = await refused(core.listNamespacedConfigMap({ namespace, fieldSelector: 'data.k=v' }));
        assert.equal(bad.code, 400);
        assert.equal(bad.status.reason, 'BadRequest');
    },

    async every_kind_of_patch(namespace) {
        await custom.createNamespacedCustomObject({ ...GROUP, namespace, body: machine('m') });
        await core.createNamespacedConfigMap({ namespace, body: map('a') });
        const at = { ...GROUP, namespace, name: 'm' };
        // Its default for custom objects is a JSON patch.
        let now = await custom.patchNamespacedCustomObject({ ...at, body: [{ op: 'replace', path: '/spec/cpu/cores', value: 4 }] });
        assert.equal(now.spec.cpu.cores, 4);
        now = await custom.patchNamespacedCustomObject({ ...at, body: { spec: { cpu: { cores: 6 } } } }, header(MergePatch));
        assert.equal(now.spec.cpu.cores, 6);
        const told = await refused(custom.patchNamespacedCustomObject({ ...at, body: { spec: {} } }, header(StrategicMergePatch)));
        assert.equal(told.code, 415);
        assert.equal(told.status.reason, 'UnsupportedMediaType');
        now = await core.patchNamespacedConfigMap({ namespace, name: 'a', body: { data: { k: null, l: '1' } } }, header(StrategicMergePatch));
        assert.deepEqual(now.data, { l: '1' });
        now = await core.patchNamespacedConfigMap({ namespace, name: 'a', body: [{ op: 'test', path: '/data/l', value: '1' },
            { op: 'add', path: '/data/m', value: '2' }] }, header(JsonPatch));
        assert.deepEqual(now.data, { l: '1', m: '2' });
        assert.equal((await refused(core.patchNamespacedConfigMap({ namespace, name: 'a', body: [{ op: 'test', path: '/data/l', value: '3' }] },
            header(JsonPatch)))).code, 422);
    },

    async objects_of_any_kind(namespace) {
        const body = { ...machine('m', { namespace }) };
        const made = await objects.create(body);
        assert.equal((await objects.read({ apiVersion: 'gabbro.dev/v1', kind: 'VirtualMachine', metadata: { name: 'm', namespace } })).metadata.uid,
            made.metadata.uid);
        const listed = await objects.list('gabbro.dev/v1', 'VirtualMachine', namespace);
        assert.equal(listed.items.length, 1);
        const patch = { apiVersion: 'gabbro.dev/v1', kind: 'VirtualMachine', metadata: { name: 'm', namespace }, spec: { cpu: { cores: 4 } } };
        assert.equal((await objects.patch(patch, undefined, undefined, undefined, undefined, MergePatch)).spec.cpu.cores, 4);
        assert.equal((await refused(objects.patch(patch))).code, 415); // strategic by default, as for any kind that is not Kubernetes' own
        const now = await objects.read(patch);
        now.metadata.labels = { app: 'db' };
        delete now.metadata.resourceVersion;
        assert.deepEqual((await objects.replace(now)).metadata.labels, { app: 'db' });
        await objects.delete(patch);
        await objects.create(map('a', { k: 'v' }, { namespace }));
        await objects.delete(map('a', {}, { namespace }));
    },

    async a_dry_run_changes_nothing(namespace) {
        const dry = await core.createNamespacedConfigMap({ namespace, body: map('a'), dryRun: 'All' });
        assert.deepEqual(dry.data, { k: 'v' });
        assert.equal((await refused(core.readNamespacedConfigMap({ namespace, name: 'a' }))).code, 404);
    },

    async refusals_are_statuses_with_causes(namespace) {
        const bad = machine('m');
        bad.spec.cpu.cores = 17;
        bad.spec.memory.size = 'much';
        const told = await refused(custom.createNamespacedCustomObject({ ...GROUP, namespace, body: bad }));
        assert.equal(told.code, 422);
        assert.equal(told.status.reason, 'Invalid');
        assert.deepEqual(told.status.details.causes.map((c) => c.field).sort(), ['spec.cpu.cores', 'spec.memory.size']);
        await core.createNamespacedConfigMap({ namespace, body: map('a') });
        assert.equal((await refused(core.createNamespacedConfigMap({ namespace, body: map('a') }))).status.reason, 'AlreadyExists');
    },

    async strangers_are_unauthorised() {
        const other = new k8s.KubeConfig();
        other.loadFromOptions({ clusters: kc.clusters, users: [{ name: 'x', token: 'gbt1.aaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' }],
            contexts: [{ name: 'x', cluster: kc.getCurrentCluster().name, user: 'x' }], currentContext: 'x' });
        const told = await refused(other.makeApiClient(k8s.CoreV1Api).listNamespace());
        assert.equal(told.code, 401); // this client keeps no body of an answer that its document does not tell of otherwise
    },

    async what_one_may_do(namespace) {
        const reviews = kc.makeApiClient(k8s.AuthorizationV1Api);
        const may = async (verb, group, resource) => (await reviews.createSelfSubjectAccessReview({ body: { apiVersion: 'authorization.k8s.io/v1',
            kind: 'SelfSubjectAccessReview', spec: { resourceAttributes: { namespace, verb, group, resource } } } })).status.allowed;
        assert.equal(await may('create', 'gabbro.dev', 'virtualmachines'), true);
        assert.equal(await may('create', 'host.gabbro.dev', 'instances'), false);
        const rules = await reviews.createSelfSubjectRulesReview({ body: { spec: { namespace } } });
        assert.ok(rules.status.resourceRules.length > 0);
    },

    async a_watch_sees_each_change_once(namespace) {
        const path = `/api/v1/namespaces/${namespace}/configmaps`;
        const { metadata } = await core.listNamespacedConfigMap({ namespace });
        const seen = await watching(path, { resourceVersion: metadata.resourceVersion, allowWatchBookmarks: true });
        await core.createNamespacedConfigMap({ namespace, body: map('a') });
        await core.patchNamespacedConfigMap({ namespace, name: 'a', body: { data: { k: 'w' } } }, header(MergePatch));
        await core.deleteNamespacedConfigMap({ namespace, name: 'a' });
        const types = [];
        for (let i = 0; i < 3; i++) {
            types.push((await seen.next()).type);
        }
        assert.deepEqual(types, ['ADDED', 'MODIFIED', 'DELETED']);
        seen.abort();
        await seen.next((e) => e.type === 'END');
    },

    async a_watch_ends_when_its_time_is_over(namespace) {
        const seen = await watching(`/api/v1/namespaces/${namespace}/configmaps`, { timeoutSeconds: 1 });
        assert.equal((await seen.next((e) => e.type === 'END')).error, null);
    },

    async a_watch_from_a_revision_that_is_not_there_is_gone(namespace) {
        const seen = await watching(`/api/v1/namespaces/${namespace}/configmaps`, { resourceVersion: '999999999' });
        const first = await seen.next();
        assert.equal(first.type === 'ERROR' ? first.object.code : first.error.statusCode, 410);
    },

    async an_informer_follows(namespace) {
        await core.createNamespacedConfigMap({ namespace, body: map('before') });
        const { informer, inbox } = informing(namespace, () => core.listNamespacedConfigMap({ namespace }));
        await informer.start();
        await inbox.next((e) => e.verb === 'add' && e.name === 'before');
        await core.createNamespacedConfigMap({ namespace, body: map('a') });
        await inbox.next((e) => e.verb === 'add' && e.name === 'a');
        await core.patchNamespacedConfigMap({ namespace, name: 'a', body: { data: { k: 'w' } } }, header(MergePatch));
        await inbox.next((e) => e.verb === 'update' && e.object.data.k === 'w');
        await core.deleteNamespacedConfigMap({ namespace, name: 'a' });
        await inbox.next((e) => e.verb === 'delete' && e.name === 'a');
        assert.deepEqual(informer.list(namespace).map((o) => o.metadata.name), ['before']);
        await informer.stop();
    },

    async an_informer_of_a_selector_sees_its_edge(namespace) {
        const labelSelector = 'team=x';
        await core.createNamespacedConfigMap({ namespace, body: map('a') });
        const { informer, inbox } = informing(namespace, () => core.listNamespacedConfigMap({ namespace, labelSelector }), labelSelector);
        await informer.start();
        const label = (team) => core.patchNamespacedConfigMap({ namespace, name: 'a', body: { metadata: { labels: { team } } } }, header(MergePatch));
        await label('x');
        await inbox.next((e) => e.verb === 'add' && e.name === 'a');
        await label('y');
        await inbox.next((e) => e.verb === 'delete' && e.name === 'a');
        assert.equal(informer.list(namespace).length, 0);
        await informer.stop();
    },

    async an_informer_lists_again_after_gone(namespace) {
        let lists = 0;
        const list = async () => {
            const told = await core.listNamespacedConfigMap({ namespace });
            lists++;
            if (lists === 1) {
                told.metadata.resourceVersion = '999999999'; // as from a server that was set back
            }
            return told;
        };
        await core.createNamespacedConfigMap({ namespace, body: map('a') });
        const { informer, inbox } = informing(namespace, list);
        await informer.start();
        await inbox.next((e) => e.verb === 'connect');
        await inbox.next((e) => e.verb === 'connect');
        await core.createNamespacedConfigMap({ namespace, body: map('b') });
        await inbox.next((e) => e.verb === 'add' && e.name === 'b');
        assert.equal(lists, 2);
        await informer.stop();
    },

    async an_informer_goes_on_after_a_restart_of_the_gateway(namespace) {
        const { informer, inbox } = informing(namespace, () => core.listNamespacedConfigMap({ namespace }));
        await informer.start();
        await core.createNamespacedConfigMap({ namespace, body: map('before') });
        await inbox.next((e) => e.verb === 'add' && e.name === 'before');
        assert.equal(await ask('restart'), 'done');
        for (let i = 0; ; i++) { // the first connections of its pool are of the process that was
            try {
                await core.createNamespacedConfigMap({ namespace, body: map('after') });
                break;
            } catch (error) {
                assert.ok(i < 5 && error.code !== 409, error.message);
            }
        }
        await inbox.next((e) => e.verb === 'add' && e.name === 'after');
        assert.deepEqual(informer.list(namespace).map((o) => o.metadata.name).sort(), ['after', 'before']);
        await informer.stop();
    },

    async exec_attach_and_logs_get_a_clear_answer(namespace) {
        assert.equal((await refused(core.readNamespacedPodLog({ namespace, name: 'none' }))).code, 404);
        await assert.rejects(new k8s.Exec(kc).exec(namespace, 'none', 'c', ['ls'], null, null, null, false));
        await assert.rejects(new k8s.Attach(kc).attach(namespace, 'none', 'c', null, null, null, false));
    },
};

for (const [name, body] of Object.entries(tests)) {
    const begun = Date.now();
    const namespace = 'n-' + name.replaceAll('_', '-').slice(0, 50).replace(/-+$/, '');
    let words = '';
    try {
        await core.createNamespace({ body: { metadata: { name: namespace } } });
        await body(namespace);
    } catch (error) {
        words = `${error.stack ?? error}`;
    }
    console.log(JSON.stringify({ name, ok: !words, words, ms: Date.now() - begun }));
}
process.exit(0);
