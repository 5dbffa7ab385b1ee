/** What Annals uses of the MongoDB driver that the driver keeps to itself (insert.ts says why). */
declare module 'mongodb/lib/cmap/commands.js' {
  /** Documents of a command that are sent beside it: a section of kind 1 of an OP_MSG. */
  export class DocumentSequence {
    /** @param field the member of the command that it stands for */
    constructor(field: string)
    /**
     * @param document what command monitoring shows
     * @param bytes the document in BSON
     */
    push(document: object, bytes: Uint8Array): number
  }
}
