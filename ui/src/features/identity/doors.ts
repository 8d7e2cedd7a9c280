/** The pages that one sees without having signed in. They are drawn without the rest of the dashboard. */
export type DoorName = 'sign-in' | 'register' | 'setup';

/** Which door an address is, if any. The link of an invitation opens the door of registration. */
export function doorOf(path: string): DoorName | undefined {
  const name = path.replace(/^\/|\/$/g, '');
  if (name === 'invitation') return 'register';
  return name === 'sign-in' || name === 'register' || name === 'setup' ? name : undefined;
}

/** Where to go after signing in: only to a path of ours, never to another site. */
export function nextPath(search: string): string {
  const next = new URLSearchParams(search).get('next') ?? '/';
  return next.startsWith('/') && !next.startsWith('//') && !next.startsWith('/\\') ? next : '/';
}

/** The sign-in page that comes back to an address. */
export const signInPath = (path: string) => (path === '/' ? '/sign-in' : `/sign-in?next=${encodeURIComponent(path)}`);
