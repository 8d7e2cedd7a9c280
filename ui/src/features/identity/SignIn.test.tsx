import { draw, expectAccessible } from '@kit/testing/draw';
import { gives, network, refuses, takes } from '@kit/testing/network';
import { screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { expect, it, vi } from 'vitest';
import { doorOf, nextPath } from './doors';
import { SignIn } from './SignIn';

const server = network();
const setup = { pending: false, registration: 'open' };

async function fill() {
  await userEvent.type(screen.getByLabelText('E-mail'), 'sari@example.com');
  await userEvent.type(screen.getByLabelText('Password'), 'correct horse ');
  await userEvent.click(screen.getByRole('button', { name: 'Sign in' }));
}

it('signs in with the password as it was typed', async () => {
  const calls: unknown[] = [];
  server.use(gives('/auth/setup', setup), takes('post', '/auth/login', calls, { user: {} }));
  const done = vi.fn();
  const { container } = draw(<SignIn done={done} />);
  expect(await screen.findByRole('link', { name: 'Register' })).toBeVisible();
  await expectAccessible(container);
  await fill();
  await waitFor(() => expect(done).toHaveBeenCalled());
  expect(calls).toEqual([{ email: 'sari@example.com', password: 'correct horse ' }]);
});

it('says what was wrong in the language of the person', async () => {
  server.use(
    gives('/auth/setup', setup),
    refuses('post', '/auth/login', 401, { code: 'login_failed', detail: 'Nope.' }),
  );
  const done = vi.fn();
  draw(<SignIn done={done} />);
  await fill();
  expect(await screen.findByRole('alert')).toHaveTextContent('E-mail or password is wrong.');
  expect(done).not.toHaveBeenCalled();
});

it.each([
  ['?next=%2Fprojects%2Fshop', '/projects/shop'],
  ['?next=https://evil.example', '/'],
  ['?next=//evil.example', '/'],
  ['?next=/%5Cevil.example', '/'],
  ['', '/'],
])('goes on from %s to %s', (search, path) => {
  expect(nextPath(search)).toBe(path);
});

it('knows its doors', () => {
  expect(['/sign-in', '/setup', '/register/', '/', '/projects'].map(doorOf)).toEqual([
    'sign-in',
    'setup',
    'register',
    undefined,
    undefined,
  ]);
});
