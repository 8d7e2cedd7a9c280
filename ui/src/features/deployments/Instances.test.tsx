import { draw, expectAccessible } from '@kit/testing/draw';
import { gives, network } from '@kit/testing/network';
import { screen, within } from '@testing-library/react';
import { expect, it } from 'vitest';
import { Instances } from './Instances';

const server = network();
const path = '/projects/shop/environments/production/instances';
const observed = {
  state: 'ready',
  reason: '',
  message: '',
  exit_code: null,
  restarts: 0,
  port: 8080,
  last_lines: [],
};
const instance = {
  id: '1',
  service: 'web',
  index: 0,
  task: false,
  release_number: 3,
  desired: 'running',
  observed,
  last_seen_at: new Date(Date.now() - 1_320_000).toISOString(),
  knowledge: 'stale',
  server: { name: 'jakarta-1' },
  container_id: 'abc',
  serving: false,
  created_at: '2026-11-20T10:00:00Z',
};

it('keeps desired, observed and last seen apart, and does not call a silent server ready', async () => {
  server.use(gives(path, { items: [instance] }));
  const { container } = draw(<Instances place={{ project: 'shop', environment: 'production' }} />);
  const table = await screen.findByRole('table', { name: 'Instances' });
  const heads = within(table)
    .getAllByRole('columnheader')
    .map((head) => head.textContent);
  expect(heads).toEqual(['Instance', 'Desired', 'Observed', 'Last seen', 'Server']);
  const [, desired, seen, last] = within(table).getAllByRole('cell');
  expect(desired).toHaveTextContent('Running');
  expect(seen).toHaveTextContent(/^Unknown since .*last known: Ready/);
  expect(last).toHaveTextContent('22 minutes ago');
  await expectAccessible(container);
});
