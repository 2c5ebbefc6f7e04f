import type { Kind } from '../../src/model/kinds.ts';
import type { Rule } from './schema.ts';

/**
 * What may not change once it is set. These fields say which bytes an object stands for: changed by hand, they would
 * make an agent work on the wrong ones.
 */
const fixedFields: { readonly [K in Kind]?: readonly string[] } = {
  Pool: ['nodeName', 'engine'],
  Volume: ['mode'],
  RecycledVolume: ['volumeId'],
  Replica: ['volumeId', 'nodeName', 'poolName', 'mode'],
  Attachment: ['volumeId', 'nodeName', 'access'],
  Snapshot: ['volumeId', 'snapshotId', 'groupName'],
  SnapshotGroup: ['volumeNames'],
  Backup: ['repositoryName', 'snapshotName', 'volumeName'],
  Task: ['verb', 'subject'],
};

/** The same of a policy. */
const fixedInPolicy = ['engine', 'filesystem', 'encryption'];

/** Rules at the spec of a kind. */
export function specRules(kind: Kind): readonly Rule[] {
  const rules: Rule[] = (fixedFields[kind] ?? []).map((field) => ({
    rule: `!has(oldSelf.${field}) || (has(self.${field}) && self.${field} == oldSelf.${field})`,
    message: `${field} cannot change`,
    fieldPath: `.${field}`,
  }));
  if (kind === 'Volume' || kind === 'Replica') {
    for (const field of fixedInPolicy)
      rules.push({
        rule: `!has(oldSelf.policy) || !has(oldSelf.policy.${field})
          || (has(self.policy) && has(self.policy.${field}) && self.policy.${field} == oldSelf.policy.${field})`.replace(
          /\s+/g,
          ' ',
        ),
        message: `policy.${field} cannot change`,
        fieldPath: '.policy',
      });
  }
  if (kind === 'Volume') {
    // One that was made of nothing cannot become a copy either.
    rules.push({
      rule: 'has(self.source) == has(oldSelf.source) && (!has(self.source) || self.source == oldSelf.source)',
      message: 'source cannot change',
      fieldPath: '.source',
    });
  }
  if (kind === 'Pool') {
    rules.push({
      rule: 'self.source.kind == oldSelf.source.kind',
      message: 'the kind of a source cannot change',
      fieldPath: '.source.kind',
    });
  }
  if (kind === 'Attachment') {
    rules.push({
      rule: "(self.origin == 'mount') == (oldSelf.origin == 'mount')",
      message: 'what the kubelet attached cannot become a mount of a person, nor the other way',
      fieldPath: '.origin',
    });
  }
  return rules;
}

/** Rules at the whole object of a kind. */
export function objectRules(kind: Kind): readonly Rule[] {
  if (kind !== 'Volume') return [];
  // Not below what is asked for, but below what is there: so an expansion that found no room can be taken back.
  return [
    {
      rule: `self.spec.sizeBytes >= oldSelf.spec.sizeBytes || !has(oldSelf.status) || !has(oldSelf.status.sizeBytes)
        || self.spec.sizeBytes >= oldSelf.status.sizeBytes`.replace(/\s+/g, ' '),
      message: 'a volume cannot shrink',
      fieldPath: '.spec.sizeBytes',
    },
    // It is what PersistentVolumes know the volume by, and names its files.
    {
      rule: `!has(oldSelf.status) || !has(oldSelf.status.volumeId)
        || (has(self.status) && has(self.status.volumeId) && self.status.volumeId == oldSelf.status.volumeId)`.replace(
        /\s+/g,
        ' ',
      ),
      message: 'volumeId cannot change',
      fieldPath: '.status.volumeId',
    },
  ];
}
