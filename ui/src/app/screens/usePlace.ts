import { useData } from '@kit/api/query';
import type { Deployment } from '@kit/api/types';
import { useNavigate, useParams, useSearch } from '@tanstack/react-router';
import { environmentKey, getEnvironment, getProject, type Place, projectKey } from '../../features/projects/api';

/** The project and environment that the address names. */
export function usePlace(): Place {
  const { project } = useParams({ from: '/projects/$project' });
  const { environment } = useSearch({ from: '__root__' });
  return { project, environment: environment ?? 'production' };
}

export const useProject = (place: Place) => useData(projectKey(place.project), () => getProject(place.project));

export const useEnvironment = (place: Place) => useData(environmentKey(place), () => getEnvironment(place));

/** Goes to the page of a deployment that has just begun. */
export function useOpenDeployment(place: Place) {
  const navigate = useNavigate();
  return (deployment: Deployment) =>
    void navigate({
      to: '/projects/$project/deployments/$deployment',
      params: { project: place.project, deployment: deployment.id },
      search: true,
    });
}
