import type { components } from './schema';

type Schemas = components['schemas'];

export type Deployment = Schemas['Deployment'];
export type DeploymentError = Schemas['DeploymentError'];
export type DeploymentState = Deployment['state'];
export type Build = Schemas['Build'];
export type Domain = Schemas['Domain'];
export type Environment = Schemas['Environment'];
export type Health = Schemas['Health'];
export type Instance = Schemas['Instance'];
export type Me = Schemas['Me'];
export type Moment = Schemas['Moment'];
export type Note = Schemas['Note'];
export type Overrides = Schemas['Overrides'];
export type Project = Schemas['Project'];
export type Release = Schemas['Release'];
export type Server = Schemas['Server'];
export type Service = Schemas['Service'];
export type Source = Schemas['Source'];
export type System = Schemas['System'];
export type Token = Schemas['Token'];
export type TokenCreated = Schemas['TokenCreated'];
export type Upload = Schemas['Upload'];
export type Variable = Schemas['Variable'];
export type Volume = Schemas['Volume'];
export type Warning = Schemas['Warning'];

/** What every managed thing can be said to be. */
export type Status = Project['status'];

/** One page of a list; next_cursor is absent on the last. */
export interface Page<T> {
  items: T[] | null;
  next_cursor?: string;
}
