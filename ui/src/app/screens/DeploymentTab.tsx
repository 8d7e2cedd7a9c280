import { useParams } from '@tanstack/react-router';
import { DeploymentPage } from '../../features/deployments/DeploymentPage';
import { useOpenDeployment, usePlace } from './usePlace';

/** One deployment. */
export function DeploymentTab() {
  const { deployment } = useParams({ from: '/projects/$project/deployments/$deployment' });
  const open = useOpenDeployment(usePlace());
  return <DeploymentPage key={deployment} id={deployment} onDeployed={open} />;
}
