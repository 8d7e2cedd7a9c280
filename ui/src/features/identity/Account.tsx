import type { Me } from '@kit/api/types';
import { lazy, Suspense, useState } from 'react';
import { AccountButton } from './AccountButton';

const load = () => import('./AccountMenu');
const AccountMenu = lazy(async () => ({ default: (await load()).AccountMenu }));

/** The account's button; its menu is fetched when somebody reaches for it. */
export function Account({ me }: { me: Me }) {
  const [wanted, setWanted] = useState(false);
  const [opened, setOpened] = useState(false);
  if (!wanted) {
    return (
      <AccountButton
        me={me}
        aria-haspopup="menu"
        aria-expanded={false}
        onPointerEnter={() => void load()}
        onFocus={() => void load()}
        onClick={() => {
          setWanted(true);
          setOpened(true);
        }}
      />
    );
  }
  return (
    <Suspense fallback={<AccountButton me={me} aria-haspopup="menu" aria-expanded={false} />}>
      <AccountMenu me={me} opened={opened} onChange={setOpened} />
    </Suspense>
  );
}
