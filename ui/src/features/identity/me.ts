import { useData } from '@kit/api/query';
import type { Me } from '@kit/api/types';
import { getMe } from './api';

export const meKey = ['me'];

/** Who is signed in. */
export const useMe = () => useData(meKey, getMe, { refetchInterval: false, staleTime: 60_000 });

/** The organization that the person works in; the server names it by id. */
export const organizationOf = (me: Me) =>
  (me.organizations ?? []).find(({ id, slug }) => id === me.organization || slug === me.organization);
