export { createControllers } from './controllers.ts';
export type { ControllerDeps, Controllers, NodeSide, OperationsDeps } from './deps.ts';
export { startClaimEvents } from './kubernetes/claim-events.ts';
export { type Claims, startClaims } from './kubernetes/claims.ts';
export { createKubernetesLooks } from './kubernetes/looks.ts';
export { type NodeControllers, startNodeControllers } from './node-controllers.ts';
export { type NodePools, startNodePools } from './node-pools.ts';
export { createOperations } from './operations/index.ts';
export { createView, type View } from './view.ts';
