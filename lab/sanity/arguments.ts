import { writeFileSync } from 'node:fs';
import path from 'node:path';

/** csi-sanity 5.6.0 has 103 specs, of which one is always pending: its authors find it fragile. */
export const sanitySpecs = 103;
export const sanityPending = [
  'pagination should detect volumes added between pages and accept tokens when the last volume from a page is deleted',
] as const;

/** Calls that hand over secrets, as csi-sanity names them in its file. */
const calls = [
  'CreateVolume',
  'DeleteVolume',
  'ControllerPublishVolume',
  'NodeStageVolume',
  'NodePublishVolume',
  'CreateSnapshot',
];

export interface SanityRun {
  /** Takes the files that csi-sanity reads, and its report. */
  readonly folder: string;
  /** The same folder as csi-sanity sees it, which may run on a machine; `folder` unless told. */
  readonly seenAs?: string;
  /** A folder of where it runs, for its mounts. */
  readonly scratch: string;
  readonly endpoint: string;
  readonly access: 'mount' | 'block';
  readonly parameters: Readonly<Record<string, string>>;
  /** What each call hands over. */
  readonly secret: Readonly<Record<string, string>>;
}

/** Writes what csi-sanity reads, and says what it is to be called with; afterwards `report.json` is in the folder. */
export function sanityArguments(run: SanityRun): readonly string[] {
  const { folder, seenAs = folder, scratch, endpoint, access, parameters, secret } = run;
  const file = (name: string, content: object) => {
    writeFileSync(path.join(folder, name), JSON.stringify(content));
    return path.join(seenAs, name);
  };
  const secrets = Object.fromEntries(calls.map((call) => [`${call}Secret`, secret]));
  return [
    ...['--csi.endpoint', endpoint],
    ...['--csi.mountdir', path.join(scratch, 'mount'), '--csi.stagingdir', path.join(scratch, 'staging')],
    ...['--csi.testvolumesize', String(2 ** 30), '--csi.testvolumeexpandsize', String(2 ** 31)],
    ...['--csi.testvolumeaccesstype', access, '--csi.testvolumeparameters', file('parameters.yaml', parameters)],
    ...['--csi.testvolumemutableparameters', file('mutable.yaml', { recycle: '0' })],
    ...['--csi.testnodevolumeattachlimit', '--csi.secrets', file('secrets.yaml', secrets)],
    ...['--ginkgo.no-color', '--ginkgo.json-report', path.join(seenAs, 'report.json')],
  ];
}
