/** PostgreSQL as people run it in a cluster, of the lab's image. */
import { postgresImage } from '../../lab/kubernetes/image/postgres.ts';

/** The password of the user postgres. */
export const databaseSecret = {
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: 'database' },
  stringData: { password: 'correct horse' },
};

/** A pod template's parts that all of these share: the container, */
export const postgres = {
  image: postgresImage,
  imagePullPolicy: 'Never',
  readinessProbe: { exec: { command: ['pg_isready', '-h', '/tmp'] }, periodSeconds: 2, timeoutSeconds: 10 },
  env: [{ name: 'POSTGRES_PASSWORD', valueFrom: { secretKeyRef: { name: 'database', key: 'password' } } }],
};
/** and as whom the pod runs. */
export const asPostgres = {
  securityContext: { runAsUser: 999, runAsGroup: 999, fsGroup: 999, fsGroupChangePolicy: 'OnRootMismatch' },
  terminationGracePeriodSeconds: 5,
};

/** Words of a shell that ask the Service `database`, with the password of the Secret. */
export const psql = 'PGPASSWORD="$POSTGRES_PASSWORD" psql -qtA -h "$DATABASE_SERVICE_HOST" -U postgres';

/** One pod with a claim at /data. */
export function deployment(name: string, container: object, claimName: string): object {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      strategy: { type: 'Recreate' },
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: {
          ...asPostgres,
          containers: [{ name, ...container, volumeMounts: [{ name: 'data', mountPath: '/data' }] }],
          volumes: [{ name: 'data', persistentVolumeClaim: { claimName } }],
        },
      },
    },
  };
}

export const service = (name: string, port: number): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name },
  spec: { selector: { app: name }, ports: [{ port }] },
});
