import { api, ok } from '@kit/api/client';

export const serversKey = ['servers'];

export const getServers = (cursor?: string) => ok(api.GET('/servers', { params: { query: { cursor } } }));

export const addServer = (name: string) => ok(api.POST('/servers', { body: { name } }));
