/** An archive that was dropped before there was a project; it waits here while the project is made. A file cannot go into an address. */
let waiting: { file: File; project?: string } | undefined;

/** Keeps a file, for a project once that is known. */
export function keepArchive(file: File | undefined, project?: string) {
  waiting = file && { file, project };
}

/** The file that waits for a project, or for none yet. */
export const waitingArchive = (project?: string) => (waiting?.project === project ? waiting?.file : undefined);
