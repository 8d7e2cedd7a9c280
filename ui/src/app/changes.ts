import type { QueryClient } from '@tanstack/react-query';

/** What the change stream says: this changed, nothing more. */
export interface Change {
  kind: 'project' | 'environment' | 'deployment' | 'servers';
  id: string;
  project_id?: string;
}

/** First elements of the query keys that a change of each kind makes stale. */
const touched: Record<Change['kind'], string[]> = {
  project: ['projects', 'project'],
  environment: ['projects', 'project', 'deployment'],
  deployment: ['projects', 'project', 'deployment'],
  servers: ['servers', 'project'],
};

/** Marks stale what the changes touched; what is on screen is fetched again. Other projects' pages are left alone. */
export function applyChanges(client: QueryClient, changes: Change[]) {
  const rooms = new Set(changes.flatMap((change) => touched[change.kind] ?? []));
  const everyProject = changes.some((change) => !change.project_id);
  const projects = new Set(changes.map((change) => change.project_id));
  void client.invalidateQueries({
    predicate: ({ queryKey }) => {
      const [room, name] = queryKey as string[];
      if (!room || !rooms.has(room)) return false;
      if (room !== 'project' || everyProject || !name) return true;
      const id = client.getQueryData<{ id: string }>(['project', name])?.id;
      return id === undefined || projects.has(id);
    },
  });
}
