import { buildSanity } from './build.ts';

// `npx tsx lab/sanity/main.ts` builds csi-sanity, as published and mended, and prints where they are.
for (const mended of [false, true]) console.log(await buildSanity(mended));
