// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {IProofOfCompute} from "./IProofOfCompute.sol";

/// @title Proof of Compute
/// @notice See {IProofOfCompute}.
contract ProofOfCompute is IProofOfCompute, Ownable2Step, Pausable {
    /// @inheritdoc IProofOfCompute
    mapping(address provider => uint256) public computeUnits;

    /// @inheritdoc IProofOfCompute
    mapping(uint64 batchId => bytes32) public rootOf;

    /// @inheritdoc IProofOfCompute
    address public recorder;

    /// @inheritdoc IProofOfCompute
    uint64 public nextBatchId = 1;

    /// @param initialOwner Names the recorder, pauses, and credits by hand.
    /// @param initialRecorder Sends batches from the start; zero stands for nobody.
    constructor(address initialOwner, address initialRecorder) Ownable(initialOwner) {
        _setRecorder(initialRecorder);
    }

    /// @inheritdoc IProofOfCompute
    function recordCompute(address provider) external onlyOwner {
        require(provider != address(0), ZeroProvider(0));
        uint256 totalUnits = ++computeUnits[provider];
        emit ComputeRecorded(provider, totalUnits);
    }

    /// @inheritdoc IProofOfCompute
    function recordBatch(uint64 batchId, bytes32 root, Credit[] calldata credits) external whenNotPaused {
        require(msg.sender == recorder, NotRecorder(msg.sender));
        uint64 expected = nextBatchId;
        require(batchId == expected, BatchOutOfOrder(expected, batchId));
        require(root != bytes32(0), ZeroRoot(batchId));
        uint256 providers = credits.length;
        require(providers != 0, EmptyBatch(batchId));

        // 2^64 batches of uint96 units cannot overflow a uint256.
        unchecked {
            nextBatchId = expected + 1;
            rootOf[batchId] = root;

            uint256 batchUnits;
            for (uint256 i; i < providers; ++i) {
                address provider = credits[i].provider;
                uint256 units = credits[i].units;
                require(provider != address(0), ZeroProvider(i));
                require(units != 0, ZeroUnits(i, provider));
                batchUnits += units;
                uint256 totalUnits = computeUnits[provider] += units;
                emit ComputeRecorded(provider, totalUnits);
            }
            emit BatchRecorded(batchId, root, providers, batchUnits);
        }
    }

    /// @inheritdoc IProofOfCompute
    function setRecorder(address newRecorder) external onlyOwner {
        _setRecorder(newRecorder);
    }

    /// @inheritdoc IProofOfCompute
    function pause() external onlyOwner {
        _pause();
    }

    /// @inheritdoc IProofOfCompute
    function unpause() external onlyOwner {
        _unpause();
    }

    /// @inheritdoc IProofOfCompute
    function verifyReceipt(uint64 batchId, Receipt calldata receipt, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        bytes32 root = rootOf[batchId];
        require(root != bytes32(0), UnknownBatch(batchId));
        // Every field is static, so that the struct encodes like its fields in order. Hashed twice, as
        // StandardMerkleTree does, a leaf never equals an inner node.
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(receipt))));
        return MerkleProof.verifyCalldata(proof, root, leaf);
    }

    function _setRecorder(address newRecorder) private {
        address previousRecorder = recorder;
        recorder = newRecorder;
        emit RecorderChanged(previousRecorder, newRecorder);
    }
}
