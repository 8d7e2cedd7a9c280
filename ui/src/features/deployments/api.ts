import { api, base, chosenOrganization, ok } from '@kit/api/client';

/** An environment of a project, as paths name it: ids or slugs. */
export interface Place {
  project: string;
  environment: string;
}

/** What to deploy: an upload, an image reference, or a past release. */
export interface Wish {
  upload_id?: string;
  image?: string;
  release_id?: string;
}

const at = (place: Place) => ({ path: { project: place.project, environment: place.environment } });
const paged = (place: Place, cursor?: string) => ({ ...at(place), query: { cursor } });

export const environmentKey = (place: Place) => ['project', place.project, place.environment];
export const partKey = (place: Place, part: string) => [...environmentKey(place), part];
export const uploadsKey = (project: string) => ['project', project, 'uploads'];
export const deploymentKey = (id: string) => ['deployment', id];

export const deploy = (place: Place, body: Wish) =>
  ok(api.POST('/projects/{project}/environments/{environment}/deployments', { params: at(place), body }));

export const getDeployments = (place: Place, cursor?: string) =>
  ok(api.GET('/projects/{project}/environments/{environment}/deployments', { params: paged(place, cursor) }));

export const getDeployment = (id: string) =>
  ok(api.GET('/deployments/{deployment}', { params: { path: { deployment: id } } }));

export const cancelDeployment = (id: string) =>
  ok(api.POST('/deployments/{deployment}/cancel', { params: { path: { deployment: id } } }));

export const retryDeployment = (id: string) =>
  ok(api.POST('/deployments/{deployment}/retry', { params: { path: { deployment: id } } }));

export const getReleases = (place: Place, cursor?: string) =>
  ok(api.GET('/projects/{project}/environments/{environment}/releases', { params: paged(place, cursor) }));

export const getInstances = (place: Place) =>
  ok(api.GET('/projects/{project}/environments/{environment}/instances', { params: at(place) }));

export const getUploads = (project: string, cursor?: string) =>
  ok(api.GET('/projects/{project}/uploads', { params: { path: { project }, query: { cursor } } }));

export const deleteUpload = (id: string) => ok(api.DELETE('/uploads/{upload}', { params: { path: { upload: id } } }));

/** Where an upload's bytes are. A link carries no headers, so the organization goes into the query. */
export function uploadUrl(id: string): string {
  const organization = chosenOrganization();
  return `${base}/uploads/${id}/content${organization ? `?${new URLSearchParams({ organization })}` : ''}`;
}

export const buildLogPath = (id: string) => `/deployments/${id}/log?follow=true`;

/** The run-time log of an environment, of one service when given. */
export function logsPath(place: Place, service: string | undefined): string {
  const query = new URLSearchParams({ tail: '200', follow: 'true' });
  if (service) query.set('service', service);
  return `/projects/${place.project}/environments/${place.environment}/logs?${query}`;
}
