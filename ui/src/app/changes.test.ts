import { QueryClient } from '@tanstack/react-query';
import { expect, it } from 'vitest';
import { applyChanges, type Change } from './changes';

function stale(changes: Change[]) {
  const client = new QueryClient();
  client.setQueryData(['projects'], []);
  client.setQueryData(['project', 'shop'], { id: 'p1' });
  client.setQueryData(['project', 'shop', 'production', 'instances'], []);
  client.setQueryData(['project', 'blog'], { id: 'p2' });
  client.setQueryData(['servers'], []);
  client.setQueryData(['me'], {});
  applyChanges(client, changes);
  const all = client.getQueryCache().getAll();
  return all.filter((query) => query.state.isInvalidated).map((query) => query.queryKey.join('/'));
}

it('refreshes the project that changed and leaves others alone', () => {
  expect(stale([{ kind: 'deployment', id: 'd', project_id: 'p1' }])).toEqual([
    'projects',
    'project/shop',
    'project/shop/production/instances',
  ]);
});

it('refreshes every project when the change does not say which', () => {
  expect(stale([{ kind: 'servers', id: 's' }])).toEqual([
    'project/shop',
    'project/shop/production/instances',
    'project/blog',
    'servers',
  ]);
});
