import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { binary } from '../../../lab/kubernetes/binaries.ts';
import { Space } from '../kit.ts';
import { claimOf, ofClaim } from '../probe.ts';
import { type MachineStage, machines, minute, podOf, sized, until } from './stage.ts';

/** A volume whose key is in a Secret, over a power cut and changes of the key. */
export function describeEncryption(stage: MachineStage): void {
  it(
    'keeps what was acknowledged on an encrypted volume over a power cut of its machine, and the pod comes back',
    async () => {
      const space = await Space.create(stage.lab, 'sealed');
      const script = 'i=$(wc -l </v/log); while :; do i=$((i+1)); echo $i >>/v/log; sync /v/log; echo $i; done';
      await space.apply(
        claimOf('db', 'sealed', sized('256Mi')),
        podOf('db', ofClaim('db'), {
          script: `touch /v/log; (${script}) & sleep 1`,
          spec: { restartPolicy: 'Always' },
        }),
      );
      // The key comes later: until then it is said what is missing.
      await stage.said(space, 'Pod', /secret.*db-key.*not found/i);
      const [one, two, wrong] = Array.from({ length: 3 }, () => randomBytes(36).toString('base64'));
      const give = (data: object) =>
        space.apply({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'db-key' }, stringData: data });
      await give({ key: one });
      await space.wait('condition=Ready', 'pod/db');
      const node = (await stage.pods(space))[0]?.spec.nodeName ?? '';
      expect(machines).toContain(node);
      expect(await stage.lab.member(node).exec(['dmsetup', 'ls', '--target', 'crypt'])).toContain('azk-luks-');

      const log = spawn(binary('kubectl'), [
        '--kubeconfig',
        stage.lab.kubeconfig,
        '-n',
        space.name,
        'logs',
        '-f',
        'db',
      ]);
      let acknowledged = 0;
      log.stdout.on('data', (data: Buffer) => {
        for (const line of data.toString().split('\n').slice(0, -1))
          acknowledged = Math.max(acknowledged, Number(line));
      });
      await until('acknowledged writes', minute, () => acknowledged >= 50);
      await stage.lab.killNode(node);
      log.kill();
      expect(stage.lab.member(node).holder).toBeUndefined();
      await stage.lab.startNode(node);
      const count = async () => Number(await space.exec('pod/db', 'sh', '-c', 'wc -l </v/log'));
      await until('the pod again', 4 * minute, async () => (await count()) > acknowledged).catch(
        stage.explained(space),
      );
      expect(
        await space.exec('pod/db', 'sh', '-c', 'seq $(wc -l </v/log) | cmp -n $(stat -c %s /v/log) - /v/log || true'),
      ).toBe('');

      // Another key in the Secret: first one that never was right, then the next one with the present beside it.
      const again = async () => {
        await space.kubectl('delete', 'pod', 'db', '--wait=true');
        // For a pod that came at once the kubelet would leave it staged, and nobody would ask for the key.
        await until(
          'the volume is detached',
          2 * minute,
          async () => !(await stage.lab.kubectl(['get', 'attachments.azekura.dev', '-o', 'name'])).includes(node),
        );
        await space.apply(podOf('db', ofClaim('db'), { script: 'test -s /v/log', node }));
      };
      await give({ key: wrong });
      await again();
      await stage.said(space, 'Pod', /does not open it/);
      await stage.said(space, 'PersistentVolumeClaim', /does not open it/, 'EncryptionKeyWrong');
      await give({ key: two, previousKey: one });
      await space.wait('condition=Ready', 'pod/db');
      await space.kubectl('delete', 'secret', 'db-key');
      await give({ key: two });
      await again();
      await space.wait('condition=Ready', 'pod/db');
      const device = `/dev/${(await stage.lab.member(node).exec(['lvs', '--noheadings', '-o', 'lv_full_name', '-S', 'lv_name=~^azk_v_'])).trim()}`;
      const opens = async (key = '') =>
        (
          await stage.lab.member(node).tryExec(['cryptsetup', 'open', '--test-passphrase', '--key-file', '-', device], {
            input: key,
          })
        ).code;
      expect([await opens(one), await opens(two)]).toEqual([2, 0]);
      await stage.gone(space);
    },
    15 * minute,
  );
}
