import { text } from '@kit/i18n';
import { Component, type ReactNode } from 'react';

/** Catches what no screen caught. A chunk that is gone after an upgrade lands here, too: loading again cures it. */
export class Crash extends Component<{ children: ReactNode }, { crashed: boolean }> {
  override state = { crashed: false };

  static getDerivedStateFromError() {
    return { crashed: true };
  }

  override render() {
    if (!this.state.crashed) return this.props.children;
    return <CrashPage />;
  }
}

/** What is shown instead of a page that failed. */
export function CrashPage() {
  return (
    <div role="alert" style={{ padding: '20vh 20px', textAlign: 'center' }}>
      <p>{text('common:state.crashed')}</p>
      <button type="button" onClick={() => location.reload()}>
        {text('common:state.reload')}
      </button>
    </div>
  );
}
