import '@kit/ui/tokens.css';
import { loadAllTexts, startTexts } from '@kit/i18n';
import { applyScheme } from '@kit/ui/scheme';
import { lazy, StrictMode, Suspense } from 'react';
import { createRoot } from 'react-dom/client';
import { doorOf } from '../features/identity/doors';
import { Crash } from './Crash';
import { Door } from './Door';

const door = doorOf(location.pathname);
// Asked for before anything is drawn, so that code and texts arrive together.
const dashboard = door ? undefined : import('./Dashboard');
const Dashboard = lazy(async () => {
  const [module] = await Promise.all([dashboard ?? import('./Dashboard'), loadAllTexts()]);
  return { default: module.Dashboard };
});

applyScheme();
void startTexts().then(() =>
  createRoot(document.getElementById('root') as HTMLElement).render(
    <StrictMode>
      <Crash>
        <Suspense fallback={null}>{door ? <Door name={door} /> : <Dashboard />}</Suspense>
      </Crash>
    </StrictMode>,
  ),
);
