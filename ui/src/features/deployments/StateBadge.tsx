import type { DeploymentState } from '@kit/api/types';
import { useText } from '@kit/i18n';
import { Pill, type Tone } from '@kit/ui/Status';

const tones: Record<DeploymentState, Tone> = {
  queued: 'calm',
  building: 'busy',
  releasing: 'busy',
  live: 'good',
  failed: 'bad',
  cancelled: 'calm',
  superseded: 'calm',
};

/** The tone of a deployment's state. */
export const toneOfState = (state: DeploymentState): Tone => tones[state] ?? 'calm';

/** Where a deployment stands. */
export function StateBadge({ state }: { state: DeploymentState }) {
  const t = useText();
  return <Pill tone={toneOfState(state)}>{t(`deployments:state.${state}`)}</Pill>;
}
