import type { ReactNode } from 'react';

interface IconProps {
  size?: number;
}

function Drawn({ size = 16, children }: IconProps & { children: ReactNode }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth="2"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      {children}
    </svg>
  );
}

const icon = (path: ReactNode) => (props: IconProps) => <Drawn {...props}>{path}</Drawn>;

export const PlusIcon = icon(<path d="M12 5v14M5 12h14" />);
export const UploadIcon = icon(<path d="M12 16V4m0 0L7 9m5-5 5 5M4 16v3a1 1 0 0 0 1 1h14a1 1 0 0 0 1-1v-3" />);
export const DownloadIcon = icon(<path d="M12 4v12m0 0-5-5m5 5 5-5M4 20h16" />);
export const PlayIcon = icon(<path d="M7 5v14l11-7z" fill="currentColor" />);
export const StopIcon = icon(<rect x="6" y="6" width="12" height="12" rx="1.5" fill="currentColor" />);
export const PauseIcon = icon(<path d="M9 5v14M15 5v14" />);
export const RestartIcon = icon(<path d="M20 11a8 8 0 1 0-2.3 6.3M20 4v7h-7" />);
export const LinkIcon = icon(
  <path d="M14 5h5v5M19 5l-9 9M11 6H6a1 1 0 0 0-1 1v11a1 1 0 0 0 1 1h11a1 1 0 0 0 1-1v-5" />,
);
export const CopyIcon = icon(<path d="M9 9h10v11H9zM5 15V4h10" />);
export const CheckIcon = icon(<path d="m5 12.5 4.5 4.5L19 7.5" />);
export const CloseIcon = icon(<path d="M6 6l12 12M18 6 6 18" />);
export const AlertIcon = icon(<path d="M12 4 2.8 20h18.4zM12 10v4M12 17.2v.1" />);
export const TrashIcon = icon(<path d="M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13" />);
export const EditIcon = icon(<path d="M4 20h4L19 9l-4-4L4 16z" />);
export const BoxIcon = icon(<path d="M12 3 4 7v10l8 4 8-4V7zM4 7l8 4 8-4M12 11v10" />);
export const DownIcon = icon(<path d="m6 9 6 6 6-6" />);
export const UndoIcon = icon(<path d="M9 14 4 9l5-5M4 9h10a6 6 0 0 1 0 12h-3" />);
export const ServerIcon = icon(<path d="M4 4h16v7H4zM4 13h16v7H4zM8 7.5v.1M8 16.5v.1" />);
export const KeyIcon = icon(<path d="M14.5 9.5 20 4m-3 3 2.5 2.5M11 13a4 4 0 1 1-3-3" />);

/** The sign of the house: a pilot's sail over water. */
export function Mark({ size = 28 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="8" fill="#0b7285" />
      <path d="M16 5v16M16 6l8 13h-8M14 10l-6 9h6" fill="#fff" />
      <path d="M6 23c3 3 5 3 10 0 5 3 7 3 10 0" fill="none" stroke="#fff" strokeWidth="2.4" strokeLinecap="round" />
    </svg>
  );
}
