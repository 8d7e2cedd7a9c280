import { api, ok } from '@kit/api/client';
import type { Overrides } from '@kit/api/types';

/** An environment of a project, as paths name it: ids or slugs. */
export interface Place {
  project: string;
  environment: string;
}

const at = (place: Place) => ({ path: { project: place.project, environment: place.environment } });

export const projectsKey = ['projects'];
export const projectKey = (project: string) => ['project', project];
export const environmentKey = (place: Place) => ['project', place.project, place.environment];
export const partKey = (place: Place, part: string) => [...environmentKey(place), part];

export const getProjects = (cursor?: string) => ok(api.GET('/projects', { params: { query: { cursor } } }));

export const getProject = (project: string) => ok(api.GET('/projects/{project}', { params: { path: { project } } }));

export const createProject = (body: { name: string; slug?: string }) => ok(api.POST('/projects', { body }));

export const changeProject = (project: string, body: { name?: string; slug?: string }) =>
  ok(api.PATCH('/projects/{project}', { params: { path: { project } }, body }));

export const deleteProject = (project: string, volumes: 'keep' | 'delete' | undefined) =>
  ok(api.DELETE('/projects/{project}', { params: { path: { project }, query: { volumes } } }));

export const getName = (slug: string) => ok(api.GET('/names', { params: { query: { slug } } }));

export const getEnvironment = (place: Place) =>
  ok(api.GET('/projects/{project}/environments/{environment}', { params: at(place) }));

export const changeEnvironment = (place: Place, body: { own_port: boolean }) =>
  ok(api.PATCH('/projects/{project}/environments/{environment}', { params: at(place), body }));

export const startEnvironment = (place: Place) =>
  ok(api.POST('/projects/{project}/environments/{environment}/start', { params: at(place) }));

export const stopEnvironment = (place: Place) =>
  ok(api.POST('/projects/{project}/environments/{environment}/stop', { params: at(place) }));

export const restartEnvironment = (place: Place, service?: string) =>
  ok(
    api.POST('/projects/{project}/environments/{environment}/restart', {
      params: { ...at(place), query: { service } },
    }),
  );

export const changeService = (place: Place, service: string, body: Overrides) =>
  ok(
    api.PATCH('/projects/{project}/environments/{environment}/services/{service}', {
      params: { path: { ...place, service } },
      body,
    }),
  );

export const getVariables = (place: Place) =>
  ok(api.GET('/projects/{project}/environments/{environment}/variables', { params: at(place) }));

/** A change of variables. Values go one way only. */
export interface VariablesChange {
  set?: { name: string; value: string; build?: boolean }[];
  unset?: string[];
  apply?: boolean;
}

export const changeVariables = (place: Place, body: VariablesChange) =>
  ok(api.PATCH('/projects/{project}/environments/{environment}/variables', { params: at(place), body }));

export const getDomains = (place: Place) =>
  ok(api.GET('/projects/{project}/environments/{environment}/domains', { params: at(place) }));

export const addDomain = (place: Place, hostname: string) =>
  ok(api.POST('/projects/{project}/environments/{environment}/domains', { params: at(place), body: { hostname } }));

export const deleteDomain = (place: Place, id: string) =>
  ok(
    api.DELETE('/projects/{project}/environments/{environment}/domains/{domain}', {
      params: { path: { ...place, domain: id } },
    }),
  );

export const getVolumes = (place: Place) =>
  ok(api.GET('/projects/{project}/environments/{environment}/volumes', { params: at(place) }));
