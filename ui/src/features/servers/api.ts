import { api, ok } from '@kit/api/client';

export const serversKey = ['servers'];

export const getServers = () => ok(api.GET('/servers'));

export const addServer = (name: string) => ok(api.POST('/servers', { body: { name } }));
