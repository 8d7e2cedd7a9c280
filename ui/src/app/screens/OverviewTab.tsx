import { useEffect, useState } from 'react';
import { DropZone } from '../../features/deployments/DropZone';
import { Instances } from '../../features/deployments/Instances';
import { Services } from '../../features/projects/Services';
import { keepArchive, waitingArchive } from '../pending';
import classes from './ProjectScreen.module.css';
import { useEnvironment, useOpenDeployment, usePlace } from './usePlace';

/** Deploying, and what runs. */
export function OverviewTab() {
  const place = usePlace();
  const environment = useEnvironment(place);
  const open = useOpenDeployment(place);
  const [initial] = useState(() => waitingArchive(place.project));
  useEffect(() => {
    if (initial) keepArchive(undefined);
  }, [initial]);
  return (
    <div className={classes.stack} key={`${place.project}/${place.environment}`}>
      <DropZone place={place} initial={initial} onDeployed={open} />
      <Services environment={environment.data} place={place} />
      <Instances place={place} />
    </div>
  );
}
