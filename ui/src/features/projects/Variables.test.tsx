import { draw, expectAccessible } from '@kit/testing/draw';
import { gives, network, refuses, takes } from '@kit/testing/network';
import { screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, it } from 'vitest';
import { Variables } from './Variables';

const server = network();
const place = { project: 'shop', environment: 'production' };
const path = '/projects/shop/environments/production/variables';
const stored = { version: 3, items: [{ name: 'TOKEN', build: true, updated_at: '2026-11-20T10:00:00Z' }] };

it('sends a value and never shows one', async () => {
  const calls: unknown[] = [];
  server.use(gives(path, stored), takes('patch', path, calls, { version: 4, deployment: null }, 202));
  const { container } = draw(<Variables place={place} />);
  await screen.findByText('TOKEN');
  await userEvent.type(screen.getByLabelText('Variable name'), 'API_KEY');
  await userEvent.type(screen.getByLabelText('Value'), 'secret');
  await userEvent.click(screen.getByRole('button', { name: 'Add variable' }));
  await waitFor(() =>
    expect(calls).toEqual([{ set: [{ name: 'API_KEY', value: 'secret', build: false }], apply: true }]),
  );
  expect(within(screen.getByRole('table')).queryByText('secret')).toBeNull();
  await expectAccessible(container);
});

it('sets everything of a pasted file at once', async () => {
  const calls: unknown[] = [];
  server.use(gives(path, stored), takes('patch', path, calls, { version: 4, deployment: null }, 202));
  draw(<Variables place={place} />);
  await userEvent.click(screen.getByRole('button', { name: 'Paste .env' }));
  await userEvent.type(screen.getByLabelText('Contents of .env'), 'A=1{enter}B=two');
  expect(screen.getByText('2 variables found')).toBeVisible();
  await userEvent.click(screen.getByRole('button', { name: 'Set variables' }));
  await waitFor(() => expect(calls).toHaveLength(1));
  expect(calls[0]).toMatchObject({
    set: [
      { name: 'A', value: '1' },
      { name: 'B', value: 'two' },
    ],
  });
});

it('says why a change was refused', async () => {
  server.use(gives(path, stored), refuses('patch', path, 403, { code: 'permission_missing', detail: 'Denied.' }));
  draw(<Variables place={place} />);
  await userEvent.click(await screen.findByRole('button', { name: 'Remove: TOKEN' }));
  const dialog = screen.getByRole('dialog', { name: 'Remove TOKEN?' });
  await userEvent.click(within(dialog).getByRole('button', { name: 'Remove' }));
  expect(await within(dialog).findByRole('alert')).toHaveTextContent('You are not allowed to do this.');
});
