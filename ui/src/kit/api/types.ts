import type { components } from './schema';

type Schemas = components['schemas'];
// The document cannot say that a reference may be null; these fields are when there is nothing.
type Nullable<T, K extends keyof T> = Omit<T, K> & { [N in K]: T[N] | null };

export type DeploymentError = Schemas['Error'];
export type Build = Nullable<Schemas['BuildView'], 'error'>;
export type Deployment = Omit<Nullable<Schemas['DeploymentView'], 'error' | 'release'>, 'builds'> & { builds: Build[] };
export type DeploymentState = Deployment['state'];
export type Domain = Schemas['Domain'];
export type Health = Schemas['Health'];
export type Service = Nullable<Schemas['ServiceView'], 'health'>;
export type Environment = Omit<Nullable<Schemas['EnvironmentView'], 'release'>, 'deployment' | 'services'> & {
  deployment: Deployment | null;
  services: Service[];
};
export type Instance = Nullable<Schemas['InstanceView'], 'observed' | 'server'>;
export type Me = Schemas['Me'];
export type Moment = Schemas['Moment'];
export type Note = Schemas['Note'];
export type Overrides = Schemas['Update-serviceRequest'];
export type Project = Schemas['ProjectView'];
export type Release = Schemas['ReleaseView'];
export type Server = Schemas['Server'];
export type Source = Schemas['SourceView'];
export type System = Schemas['System'];
export type Token = Schemas['Token'];
export type TokenCreated = Schemas['NewToken'];
export type Upload = Schemas['UploadView'];
export type Variable = Schemas['Variable'];
export type Volume = Schemas['VolumeView'];
export type Warning = Schemas['Warning'];

/** What every managed thing can be said to be. */
export type Status = Project['status'];

/** One page of a list; next_cursor is absent on the last. */
export interface Page<T> {
  items: T[] | null;
  next_cursor?: string;
}
