import { api, ok } from '@kit/api/client';

/** Where the installation stands: is it set up, and who may register. */
export const getSetup = () => ok(api.GET('/auth/setup'));

export const signIn = (body: { email: string; password: string }) => ok(api.POST('/auth/login', { body }));

export const register = (body: {
  email: string;
  name: string;
  password: string;
  organization?: string;
  invitation?: string;
}) => ok(api.POST('/auth/register', { body }));

export const setUp = (body: { token: string; email: string; name: string; password: string }) =>
  ok(api.POST('/auth/setup', { body }));

export const signOut = () => ok(api.POST('/auth/logout'));

export const getMe = () => ok(api.GET('/me'));

export const saveLocale = (locale: string) => ok(api.PATCH('/me', { body: { locale } }));

export const getTokens = (cursor?: string) => ok(api.GET('/tokens', { params: { query: { cursor } } }));

export const createToken = (body: { name: string; expires_in_days?: number }) => ok(api.POST('/tokens', { body }));

export const deleteToken = (id: string) => ok(api.DELETE('/tokens/{id}', { params: { path: { id } } }));
