import { useData } from '@kit/api/query';
import { useText } from '@kit/i18n';
import { advice, told } from '@kit/i18n/problem';
import { AlertIcon } from '@kit/ui/icons';
import { getSystem, systemKey } from './api';
import classes from './Warnings.module.css';

/** What is wrong with the installation as a whole, above every page. */
export function Warnings() {
  const t = useText();
  const { data } = useData(systemKey, getSystem, { refetchInterval: 60_000 });
  const warnings = data?.warnings ?? [];
  if (warnings.length === 0) return null;
  return (
    <section className={classes.list} aria-label={t('system:warnings')}>
      {warnings.map((warning) => (
        <p key={warning.code + JSON.stringify(warning.parameters ?? {})} role="status">
          <AlertIcon />
          <span>
            <strong>{told(warning)}</strong> {advice(warning)}
          </span>
        </p>
      ))}
    </section>
  );
}

/** The version, for the foot of the page. */
export function Version() {
  const t = useText();
  const { data } = useData(systemKey, getSystem, { refetchInterval: 60_000 });
  return <>{data ? t('system:version', { version: data.version }) : ' '}</>;
}
