// For vitest: writes how long each file took, with its hooks, to the file that AZEKURA_TEST_SECONDS names.
import { writeFileSync } from 'node:fs';

export default class SecondsReporter {
  #seconds = {};

  onTestModuleEnd(module) {
    this.#seconds[module.relativeModuleId] = Math.round(module.diagnostic().duration / 1000);
  }

  onTestRunEnd() {
    const { AZEKURA_TEST_SECONDS: file } = process.env;
    if (file !== undefined) writeFileSync(file, JSON.stringify(this.#seconds));
  }
}
