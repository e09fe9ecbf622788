// Uses an engine by @kubernetes/client-node, with the kubeconfig of the environment. Prints a line
// of JSON per finding.
import * as k8s from '@kubernetes/client-node';

const say = (name, value) => console.log(JSON.stringify({ [name]: value }));
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const namespace = 'default';

const seen = new Promise((resolve, reject) => {
  const watch = new k8s.Watch(config);
  const path = `/api/v1/namespaces/${namespace}/configmaps`;
  const each = (type, object, request) => {
    if (object.metadata.name === 'from-node' && type === 'MODIFIED') resolve(object.data);
  };
  watch.watch(path, {}, each, (error) => error && reject(error)).catch(reject);
});

const body = { metadata: { name: 'from-node' }, data: { x: '1' } };
const made = await core.createNamespacedConfigMap({ namespace, body });
say('created', made.data);
made.data.x = '2';
await core.replaceNamespacedConfigMap({ namespace, name: 'from-node', body: made });
say('watched', await seen);

const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const applied = await objects.patch(
  { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'from-node', namespace }, data: { y: '3' } },
  undefined, undefined, 'node', true, k8s.PatchStrategy.ServerSideApply,
);
say('applied', applied.data);
const list = await core.listNamespacedConfigMap({ namespace });
say('listed', list.items.some((item) => item.metadata.name === 'from-node'));
await core.deleteNamespacedConfigMap({ namespace, name: 'from-node' });
await core.readNamespacedConfigMap({ namespace, name: 'from-node' }).catch((error) => say('gone', error.code));
process.exit(0);
