/** The terminal, or what a test hands in. */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  readonly outIsTty: boolean;
  readonly errIsTty: boolean;
  readonly columns: number;
  /** One line from the user; undefined when standard input is no terminal. */
  ask(question: string): Promise<string | undefined>;
}
