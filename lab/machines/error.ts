/** What went wrong in the lab, in one sentence, and what to do about it. */
export class LabError extends Error {
  readonly next: string | undefined;

  constructor(message: string, next?: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'LabError';
    this.next = next;
  }
}
