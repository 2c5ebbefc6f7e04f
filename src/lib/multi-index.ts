/** Members by group: which attachments a volume has, which replicas lie on a pool. One group per member and index. */
export class MultiIndex {
  readonly #groupOf = new Map<string, string>();
  readonly #members = new Map<string, Set<string>>();

  /** Puts the member into the group, out of the one it was in; undefined takes it out. */
  set(member: string, group: string | undefined): void {
    const before = this.#groupOf.get(member);
    if (before === group) return;
    if (before !== undefined) this.#remove(member, before);
    if (group === undefined) return;
    this.#groupOf.set(member, group);
    const members = this.#members.get(group);
    if (members) members.add(member);
    else this.#members.set(group, new Set([member]));
  }

  /** Members of the group in the order in which they came. */
  members(group: string): readonly string[] {
    return [...(this.#members.get(group) ?? [])];
  }

  groupOf(member: string): string | undefined {
    return this.#groupOf.get(member);
  }

  count(group: string): number {
    return this.#members.get(group)?.size ?? 0;
  }

  groups(): readonly string[] {
    return [...this.#members.keys()];
  }

  #remove(member: string, group: string): void {
    this.#groupOf.delete(member);
    const members = this.#members.get(group);
    members?.delete(member);
    if (members?.size === 0) this.#members.delete(group);
  }
}
