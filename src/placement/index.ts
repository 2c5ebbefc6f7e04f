export { type Room, roomOf } from './capacity.ts';
export { Ledger, ledger, ledgerEntry, type PoolSums } from './ledger.ts';
export { type Consideration, type PlacementResult, type PlaceRequest, place } from './place.ts';
