/** PostgreSQL as an image: Debian's packages as they are installed on this machine, run as the user 999. */
import { existsSync, readdirSync } from 'node:fs';
import { buildImage } from './build.ts';

export const postgresImage = 'localhost/postgres:1';
const folder = '/usr/lib/postgresql';

/** The newest PostgreSQL of this machine, such as "15"; undefined when there is none. */
export function postgresVersion(): string | undefined {
  if (!existsSync(folder)) return undefined;
  return readdirSync(folder)
    .filter((name) => existsSync(`${folder}/${name}/bin/initdb`))
    .sort((a, b) => Number(b) - Number(a))[0];
}

/**
 * Starts PostgreSQL on $PGDATA, which it makes with $POSTGRES_PASSWORD when it is empty, as well-known images do. With
 * $PGWAL the write-ahead log goes to a folder of its own.
 */
const start = `#!/bin/sh
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf '%s' "$POSTGRES_PASSWORD" >/tmp/password
  initdb --username=postgres --auth-local=trust --auth-host=scram-sha-256 --pwfile=/tmp/password --encoding=UTF8 \\
    --data-checksums --locale=C \${PGWAL:+--waldir="$PGWAL"}
  rm /tmp/password
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  # What a power cut must not take.
  sync "$PGDATA/pg_hba.conf"
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp -c dynamic_shared_memory_type=mmap "$@"
`;

/** @throws Error when PostgreSQL is not installed */
export async function postgresArchive(): Promise<string> {
  const version = postgresVersion();
  if (version === undefined) throw new Error('PostgreSQL is not installed: apt-get install postgresql');
  return buildImage({
    reference: postgresImage,
    layers: [
      {
        packages: [`postgresql-${version}`, `postgresql-client-${version}`, 'tzdata'],
        // The just-in-time compiler and what it compiles: 150 MB of no use here.
        without: ['llvmjit.so', 'llvmjit_types.bc', 'bitcode'].map((name) => `${folder}/${version}/lib/${name}`),
        busybox: true,
        texts: {
          '/etc/passwd': 'root:x:0:0:root:/root:/bin/sh\npostgres:x:999:999:postgres:/tmp:/bin/sh\n',
          '/etc/group': 'root:x:0:\npostgres:x:999:\n',
          '/start.sh': start,
        },
      },
    ],
    entrypoint: ['/bin/sh', '/start.sh'],
    environment: { PATH: `${folder}/${version}/bin:/usr/sbin:/usr/bin:/sbin:/bin`, PGDATA: '/data/pgdata' },
    user: '999:999',
  });
}
