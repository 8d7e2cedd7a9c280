import { useText } from '@kit/i18n';
import { Empty } from '@kit/ui/States';
import { Link } from '@tanstack/react-router';

/** An address that leads nowhere. */
export function NotFound() {
  const t = useText();
  return (
    <Empty title={t('common:state.notFound')}>
      <Link to="/">{t('common:state.home')}</Link>
    </Empty>
  );
}
