import { useConnected } from '@kit/api/live';
import { useText } from '@kit/i18n';
import { Mark } from '@kit/ui/icons';
import { LoadFailed } from '@kit/ui/States';
import { Toasts } from '@kit/ui/Toasts';
import { Link, Outlet, useLocation } from '@tanstack/react-router';
import { lazy, Suspense, useEffect, useState } from 'react';
import { Account } from '../features/identity/Account';
import { useMe } from '../features/identity/me';
import classes from './Frame.module.css';
import { useChanges } from './useChanges';

const Notices = lazy(async () => ({ default: (await import('./Notices')).Notices }));

/** What stands around every page: the sign, the ways, the person; what is wrong, above. */
export function Frame() {
  const t = useText();
  const me = useMe();
  const path = useLocation({ select: (location) => location.pathname });
  const connected = useConnected();
  useChanges();
  if (me.error && me.error.status !== 401 && !me.data) return <LoadFailed problem={me.error} retry={me.refetch} />;
  return (
    <div className={classes.frame}>
      <a href="#main" className={classes.skip}>
        {t('common:skip')}
      </a>
      <header className={classes.bar}>
        <div className={classes.inner}>
          <Link to="/" className={classes.brand} aria-label={t('common:app')}>
            <Mark />
            <span>{t('common:app')}</span>
          </Link>
          <nav aria-label={t('common:nav.label')} className={classes.nav}>
            <Link to="/" data-active={path === '/' || path.startsWith('/projects') || undefined}>
              {t('common:nav.projects')}
            </Link>
            {me.data?.operator && (
              <Link to="/servers" activeProps={{ 'data-active': true }}>
                {t('common:nav.servers')}
              </Link>
            )}
          </nav>
          <span className={classes.lost} role="status">
            {connected ? '' : t('common:connection.lost')}
          </span>
          {me.data && <Account me={me.data} />}
        </div>
      </header>
      <main id="main" className={classes.main} tabIndex={-1}>
        {me.data && <AfterPaint />}
        <Outlet />
      </main>
      <Toasts />
    </div>
  );
}

/** What is not needed for the first picture, fetched after it. */
function AfterPaint() {
  const [due, setDue] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setDue(true), 400);
    return () => clearTimeout(timer);
  }, []);
  return due ? (
    <Suspense fallback={null}>
      <Notices />
    </Suspense>
  ) : null;
}
