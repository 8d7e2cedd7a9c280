import { api, ok } from '@kit/api/client';
import type { Language } from '@kit/i18n';

/** Where the installation stands: is it set up, and who may register. */
export const getSetup = () => ok(api.GET('/auth/setup'));

export const signIn = (body: { email: string; password: string }) => ok(api.POST('/auth/login', { body }));

interface Account {
  email: string;
  name: string;
  password: string;
  locale: Language;
}

export const register = (body: Account & { invitation?: string }) => ok(api.POST('/auth/register', { body }));

export const setUp = (body: Account & { secret: string }) => ok(api.POST('/auth/setup', { body }));

export const signOut = () => ok(api.POST('/auth/logout'));

export const getMe = () => ok(api.GET('/me'));

export const saveLocale = (locale: Language) => ok(api.PATCH('/me', { body: { locale } }));

export const getTokens = (cursor?: string) => ok(api.GET('/tokens', { params: { query: { cursor } } }));

export const createToken = (body: { name: string; scopes: string[]; days?: number }) =>
  ok(api.POST('/tokens', { body }));

export const deleteToken = (id: string) => ok(api.DELETE('/tokens/{token}', { params: { path: { token: id } } }));
