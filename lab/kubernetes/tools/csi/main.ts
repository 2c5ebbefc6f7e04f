import { buildLabtool } from './build.ts';

// `npx tsx lab/kubernetes/tools/csi/main.ts` builds labtool and prints where it is.
console.log(await buildLabtool());
