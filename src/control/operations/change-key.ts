import { newUid } from '../../lib/id.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { Volume } from '../../model/kinds.ts';
import { change } from '../../store/change.ts';
import { attachmentsNow } from './attachments.ts';
import type { OperationsContext } from './context.ts';

/** See Operations.changeVolumeKey. */
export async function changeVolumeKey(
  context: OperationsContext,
  name: string,
  request: { readonly keyFile?: string; readonly previousKeyFile?: string },
): Promise<Volume> {
  const volume = await context.needVolume(name);
  const { policy } = volume.spec;
  if (policy.encryption === 'none')
    throw new AzekuraError('FailedPrecondition', `volume ${name} is not encrypted`, {
      next: 'make an encrypted volume and copy the data into it',
    });
  const { spec: present, status } = volume;
  const pending = status.changeKey?.requestId === present.changeKey?.requestId ? undefined : present.changeKey;
  const keyFile = request.keyFile ?? pending?.keyFile ?? policy.encryptionKeyFile;
  const previousKeyFile = request.previousKeyFile ?? pending?.previousKeyFile ?? policy.encryptionKeyFile;
  if (keyFile === undefined || previousKeyFile === undefined)
    throw new AzekuraError(
      'InvalidArgument',
      `volume ${name} names no key file: its key comes with requests to stage it`,
      {
        next: 'name files of the node with both keys (--key-file, --new-key-file), or put both keys into the Secret',
      },
    );
  if (keyFile === previousKeyFile)
    throw new AzekuraError('InvalidArgument', `the new key and the one before are both in ${keyFile}`, {
      next: 'put the new key into a file of its own',
    });
  for (const attachment of await attachmentsNow(context, volume))
    if (attachment.spec.readOnly)
      throw blamed(
        'FailedPrecondition',
        makeCause('InUse', { what: `volume ${name}`, holder: `node ${attachment.spec.nodeName}, read-only` }),
      );
  const changed = await change(context.deps.store, 'Volume', name, ({ spec, status, metadata }) => {
    if (metadata.deletionTimestamp) throw new AzekuraError('FailedPrecondition', `volume ${name} is being deleted`);
    const asked = spec.changeKey;
    const done = asked === undefined || status.changeKey?.requestId === asked.requestId;
    if (!done && asked.keyFile === keyFile && asked.previousKeyFile === previousKeyFile) return undefined;
    return {
      spec: {
        ...spec,
        // A volume whose key comes with requests goes on like that.
        policy: policy.encryptionKeyFile === undefined ? spec.policy : { ...spec.policy, encryptionKeyFile: keyFile },
        changeKey: { requestId: newUid(), keyFile, previousKeyFile },
      },
    };
  });
  if (!changed) throw new AzekuraError('NotFound', `volume ${name} has been deleted meanwhile`);
  return changed;
}
