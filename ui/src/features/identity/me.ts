import { useData } from '@kit/api/query';
import { getMe } from './api';

export const meKey = ['me'];

/** Who is signed in. */
export const useMe = () => useData(meKey, getMe, { refetchInterval: false, staleTime: 60_000 });
