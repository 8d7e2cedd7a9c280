import type { ReactNode } from 'react';
import classes from './DataTable.module.css';

/** One column: its heading and what stands in it. `actions` columns have their heading for screen readers only. */
export interface Column<T> {
  label: string;
  cell: (row: T) => ReactNode;
  actions?: boolean;
  wide?: boolean;
}

interface DataTableProps<T> {
  label: string;
  columns: Column<T>[];
  rows: T[];
  rowKey: (row: T) => string;
}

/** A table that becomes a list of cards on a narrow screen. The roles are said, since changed display takes them away. */
export function DataTable<T>({ label, columns, rows, rowKey }: DataTableProps<T>) {
  return (
    <div className={classes.frame}>
      <table className={classes.table} role="table" aria-label={label}>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.label} scope="col" className={column.actions ? classes.actions : undefined}>
                {column.actions ? <span className={classes.unseen}>{column.label}</span> : column.label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={rowKey(row)} role="row">
              {columns.map((column) => (
                <td
                  key={column.label}
                  role="cell"
                  data-label={column.actions ? undefined : column.label}
                  className={column.actions ? classes.actions : column.wide ? classes.wide : undefined}
                >
                  <div className={classes.cell}>{column.cell(row)}</div>
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
