import { Button } from '@mantine/core';
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react';
import { useFormat } from '../format';
import { useText } from '../i18n';
import { DownIcon } from './icons';
import classes from './LogView.module.css';
import { type Log, plain, visible } from './loglines';

const row = 20;
const nearEnd = 24;

interface LogViewProps {
  log: Log;
  label: string;
  height: number | string;
  /** What is said while there are no lines. */
  waiting: string;
}

/** A log of any length, of which only what is seen is drawn. It follows its end until the person scrolls away. */
export function LogView({ log, label, height, waiting }: LogViewProps) {
  const t = useText();
  const format = useFormat();
  const box = useRef<HTMLDivElement>(null);
  const [follow, setFollow] = useState(true);
  const [view, setView] = useState({ top: 0, height: 400 });
  const count = log.lines.length;

  const toEnd = useCallback(() => {
    const element = box.current;
    if (element) element.scrollTop = element.scrollHeight;
  }, []);

  // biome-ignore lint/correctness/useExhaustiveDependencies: each change of the log moves its end
  useLayoutEffect(() => {
    if (follow) toEnd();
  }, [log, follow, toEnd]);

  useEffect(() => {
    const element = box.current;
    if (!element || typeof ResizeObserver === 'undefined') return;
    const observer = new ResizeObserver(() => setView({ top: element.scrollTop, height: element.clientHeight }));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const onScroll = () => {
    const element = box.current;
    if (!element) return;
    setView({ top: element.scrollTop, height: element.clientHeight });
    setFollow(element.scrollHeight - element.scrollTop - element.clientHeight < nearEnd);
  };

  const { from, to } = visible(view.top, view.height, row, count);
  return (
    <div className={classes.frame}>
      <div
        ref={box}
        className={classes.box}
        style={{ height }}
        role="log"
        aria-live="off"
        aria-label={label}
        tabIndex={0}
        onScroll={onScroll}
      >
        {count === 0 && <p className={classes.waiting}>{waiting}</p>}
        {log.dropped > 0 && view.top < row && <p className={classes.dropped}>{t('deployments:logs.dropped')}</p>}
        <div className={classes.space} style={{ height: count * row }}>
          <div className={classes.lines} style={{ transform: `translateY(${from * row}px)` }}>
            {log.lines.slice(from, to).map((line, index) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: a line is where it stands
              <div key={log.dropped + from + index} className={classes.line} data-bad={line.bad || undefined}>
                <span className={classes.time}>{line.at && format.clock(line.at)}</span>
                {line.source && <span className={classes.source}>{line.source}</span>}
                <span>{plain(line.text)}</span>
              </div>
            ))}
          </div>
        </div>
      </div>
      {!follow && count > 0 && (
        <Button
          className={classes.jump}
          size="xs"
          radius="xl"
          leftSection={<DownIcon size={14} />}
          onClick={() => {
            setFollow(true);
            toEnd();
          }}
        >
          {t('deployments:logs.newest')}
        </Button>
      )}
    </div>
  );
}
