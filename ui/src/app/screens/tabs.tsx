import { Bones } from '@kit/ui/States';
import { useNavigate } from '@tanstack/react-router';
import { DeploymentList } from '../../features/deployments/DeploymentList';
import { Releases } from '../../features/deployments/Releases';
import { Uploads } from '../../features/deployments/Uploads';
import { Domains } from '../../features/projects/Domains';
import { Settings } from '../../features/projects/Settings';
import { Variables } from '../../features/projects/Variables';
import { useEnvironment, useOpenDeployment, usePlace, useProject } from './usePlace';

export function DeploymentsTab() {
  return <DeploymentList place={usePlace()} />;
}

export function VariablesTab() {
  return <Variables place={usePlace()} />;
}

export function ReleasesTab() {
  const place = usePlace();
  return <Releases place={place} onDeployed={useOpenDeployment(place)} />;
}

export function DomainsTab() {
  return <Domains place={usePlace()} />;
}

export function UploadsTab() {
  const place = usePlace();
  return <Uploads place={place} onDeployed={useOpenDeployment(place)} />;
}

/** Settings; a renamed project moves to its new address, a deleted one back to the list. */
export function SettingsTab() {
  const navigate = useNavigate();
  const place = usePlace();
  const project = useProject(place);
  const environment = useEnvironment(place);
  if (!project.data) return <Bones rows={3} height={120} />;
  return (
    <Settings
      key={project.data.id}
      project={project.data}
      environment={environment.data}
      place={place}
      onDeleted={() => void navigate({ to: '/' })}
      onRenamed={(renamed) =>
        void navigate({
          to: '/projects/$project/settings',
          params: { project: renamed.slug },
          search: true,
          replace: true,
        })
      }
    />
  );
}
