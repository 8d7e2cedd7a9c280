import { api, ok } from '@kit/api/client';

export const systemKey = ['system'];

export const getSystem = () => ok(api.GET('/system'));
