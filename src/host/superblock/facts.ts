/** What a superblock tells of its file system. */
export interface FilesystemFacts {
  readonly filesystem: string;
  readonly uuid: string;
  /** No journal or log needs a replay. */
  readonly clean: boolean;
  /** As the file system counts; the device may be larger. */
  readonly sizeBytes: number;
}
