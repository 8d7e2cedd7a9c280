import { RuntimeLogs } from '../../features/deployments/RuntimeLogs';
import { useEnvironment, usePlace } from './usePlace';

/** Run-time logs of the environment. */
export function LogsTab() {
  const place = usePlace();
  const environment = useEnvironment(place);
  return <RuntimeLogs place={place} services={(environment.data?.services ?? []).map((service) => service.name)} />;
}
